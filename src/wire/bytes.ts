/** Bytes in any type of the platform. */
export type BytesLike = ArrayBuffer | SharedArrayBuffer | ArrayBufferView

/** Whether a value is bytes. */
export function isBytes(value: unknown): value is BytesLike {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer
}

/** A text in UTF-8, or a view of bytes. */
export function bytesOf(data: string | BytesLike): Buffer {
  if (typeof data === 'string') return Buffer.from(data)
  if (Buffer.isBuffer(data)) return data
  return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data)
}

/** A text in UTF-8, or a copy of bytes. */
export function copyOf(data: string | BytesLike): Buffer {
  return typeof data === 'string' ? Buffer.from(data) : Buffer.from(bytesOf(data))
}
