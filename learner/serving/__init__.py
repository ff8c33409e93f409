"""A model behind an address: onnxruntime computes, FastAPI speaks HTTP, uvicorn listens. Loads no torch."""
