"""What lies in the models folders, and how it becomes components on the device."""
