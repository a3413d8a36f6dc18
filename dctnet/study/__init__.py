"""What one does with a trained model: masks, heat maps, predictions."""
