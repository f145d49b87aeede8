"""Images to input tensors: dataset, preprocessing, the info file of the inference tool."""
