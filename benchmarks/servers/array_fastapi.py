"""The same behind FastAPI, with the same libraries: a route for each form."""

import io
import sys

import numpy as np
import orjson
import safetensors.numpy
import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.post("/json")
async def json(request: Request) -> Response:
    array = np.asarray(orjson.loads(await request.body()), "float32")
    content = orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")


@app.post("/npy")
async def npy(request: Request) -> Response:
    array = np.load(io.BytesIO(await request.body()))
    buffer = io.BytesIO()
    np.save(buffer, array)
    return Response(buffer.getvalue(), media_type="application/x-npy")


@app.post("/safetensors")
async def safe(request: Request) -> Response:
    array = safetensors.numpy.load(await request.body())["array"]
    content = safetensors.numpy.save({"array": array})
    return Response(content, media_type="application/safetensors")


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, ws="none")
