"""What a page asks of torch and reads as a file: layers, learning rates, strategy, previews, learning curve."""
