"""Everything that lies in the outputs folder and in folders of other programs, to be found again."""
