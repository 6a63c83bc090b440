/** Bytes in any of the shapes that the platform has for them. */
export type BytesLike = ArrayBuffer | SharedArrayBuffer | ArrayBufferView

/** Whether a value is bytes. */
export function isBytes(value: unknown): value is BytesLike {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer
}

/** A text in UTF-8, or bytes where they are. */
export function bytesOf(data: string | BytesLike): Buffer {
  if (typeof data === 'string') return Buffer.from(data)
  return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data)
}

/** A text in UTF-8, or bytes as they are now, whatever is done with `data` later. */
export function copyOf(data: string | BytesLike): Buffer {
  const bytes = bytesOf(data)
  return typeof data === 'string' ? bytes : Buffer.from(bytes)
}
