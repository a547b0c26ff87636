"""A compact Faster R-CNN with a feature pyramid and masks, trained on generated scenes."""
