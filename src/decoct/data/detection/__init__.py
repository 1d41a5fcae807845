"""Images with boxes: the data set, its readers (COCO json, VOC xml) and the writer of subsets."""
