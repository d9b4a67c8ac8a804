// The network, away from the page: one clip for each request, on the processor, or on WebGPU where that makes the same clips faster.

const SAME = 1.5 / 127.5; // of values in -1 to 1: no more than rounding to another level
let session = null, spare = null, input = 0, conditional = false;

async function start(facts) {
  const files = new URL("runtime/", self.location.href).href;
  const processor = await import("./runtime/ort.wasm.min.mjs");
  processor.env.wasm.wasmPaths = files;
  processor.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  input = Number(facts.latent_dim);
  conditional = Boolean(facts.classes);
  session = await open(processor, "wasm");
  self.postMessage({ kind: "ready", by: "processor" });
  if (facts.webgpu === "yes" && navigator.gpu && (await navigator.gpu.requestAdapter().catch(() => null))) {
    try {
      const card = await import("./runtime/ort.webgpu.min.mjs");
      card.env.wasm.wasmPaths = files;
      spare = await open(card, "webgpu");
    } catch (error) {
      spare = null; // the card cannot do it: the processor goes on
    }
  }
}

async function open(ort, provider) {
  const model = await ort.InferenceSession.create("model.onnx", { executionProviders: [provider] });
  const run = async (latents, truncation, kind) => {
    const feeds = { latents: new ort.Tensor("float32", latents, [1, input]), truncation: new ort.Tensor("float32", [truncation], [1]) };
    if (conditional) feeds.classes = new ort.Tensor("int64", BigInt64Array.of(BigInt(kind)), [1]);
    const clips = (await model.run(feeds)).clips;
    return { values: clips.data, dims: clips.dims };
  };
  return { run, by: provider === "webgpu" ? "WebGPU" : "processor" };
}

async function timed(which, latents, truncation, kind) {
  const began = performance.now();
  const clip = await which.run(latents, truncation, kind);
  return { ...clip, seconds: (performance.now() - began) / 1000 };
}

async function make({ id, latents, truncation, of }) {
  const clip = await timed(session, latents, truncation, of);
  if (spare) {
    const other = spare;
    spare = null;
    try {
      await other.run(latents, truncation, of); // the first call builds the card's programs
      const twin = await timed(other, latents, truncation, of);
      const same = twin.values.every((value, k) => Math.abs(value - clip.values[k]) <= SAME);
      if (same && twin.seconds < clip.seconds) session = other;
      self.postMessage({ kind: "compared", same, by: session.by, seconds: twin.seconds });
    } catch (error) {
      self.postMessage({ kind: "compared", same: false, by: session.by, seconds: null });
    }
  }
  const values = Float32Array.from(clip.values);
  self.postMessage({ kind: "clip", id, values, dims: clip.dims, seconds: clip.seconds, by: session.by }, [values.buffer]);
}

let queue = Promise.resolve();
let newest = 0;
self.onmessage = ({ data }) => {
  if (data.kind === "start") queue = start(data.facts).catch((error) => self.postMessage({ kind: "failed", said: String(error) }));
  if (data.kind === "forget") newest = data.id; // requests before it are not wanted any more
  if (data.kind === "make") {
    queue = queue
      .then(() => (data.id < newest ? undefined : make(data)))
      .catch((error) => self.postMessage({ kind: "failed", said: String(error) }));
  }
};
