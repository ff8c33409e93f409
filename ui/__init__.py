"""What pages share: the frame, the state of a visit, components, charts; and a folder for each page."""
