"""The tabs that make pictures: Text to image, Image to image and Inpaint."""
