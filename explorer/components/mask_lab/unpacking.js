// Bytes -> a layer: the head's fields and its parts as typed arrays. packing.py has the layout.

const KINDS = { u1: Uint8Array, i4: Int32Array, u4: Uint32Array, f4: Float32Array, f2: Uint16Array }

let halfTable = null

// The number that 16 bits stand for (IEEE 754 binary16).
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

function halves(bits) {
  halfTable ??= Float32Array.from({ length: 65536 }, (_, n) => half(n))
  const numbers = new Float32Array(bits.length)
  for (let n = 0; n < bits.length; n++) numbers[n] = halfTable[bits[n]]
  return numbers
}

// Bytes from Python -> their number and the data.
function numbered(bytes) {
  const number = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  return [Number(number), bytes.subarray(8)]
}

function headOf(bytes) {
  const end = 4 + new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true)
  return [JSON.parse(new TextDecoder().decode(bytes.subarray(4, end))), end]
}

function decode(bytes) {
  let [head, at] = headOf(bytes)
  for (const [name, kind, count] of head.parts) {
    const end = at + count * KINDS[kind].BYTES_PER_ELEMENT
    const array = new KINDS[kind](bytes.slice(at, end).buffer)
    head[name] = kind === "f2" ? halves(array) : array
    at = end
  }
  return head
}

// What the labs of this page share. known: layers by id; their bytes come once, in an element of
// their own, and the views refer to them. holders: the elements that brought each.
function layers() {
  globalThis.pruningMaskLab ??= {
    known: new Map(),
    holders: new Map(),
    waiting: new Set(),
    details: new Map(),
    histories: new Map(),
    views: new Map(),
  }
  return globalThis.pruningMaskLab
}

// Where single weights of a reduced layer come from. from: the element that brings them;
// ask(window) requests them; when they are stored in `window`, the functions in `waiting` are
// called.
function detailOf(id) {
  const { details } = layers()
  if (!details.has(id)) details.set(id, { from: null, ask: null, window: null, waiting: new Set() })
  return details.get(id)
}

// What the lab with that key shows: the choice of pictures, the place and zoom, and the cells that
// these fit. It outlives the lab, so it is the same after another page.
function viewOf(key) {
  const { views } = layers()
  if (!views.has(key))
    views.set(key, { picked: null, cells: "", place: { x: 0, y: 0, zoom: 1, sx: 1, sy: 1 } })
  return views.get(key)
}
