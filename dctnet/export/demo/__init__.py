"""A static folder that classifies photographs in the browser: the network as ONNX file, and onnxruntime-web."""
