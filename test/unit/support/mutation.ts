import fc from 'fast-check'

/** What a change does to bytes. Positions count from 0 to 1, so that they fit bytes of any length. */
export type Mutation =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'delete'; readonly at: number; readonly count: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly at: number }
  | { readonly kind: 'duplicate'; readonly at: number; readonly count: number; readonly to: number }

const position = fc.double({ min: 0, max: 1, noNaN: true })
/** Any bytes, and more often those that mean something in the format. */
const inserted = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 8 }),
  fc.stringMatching(/^[0-9:,}\]#^!~ "{[\\@*-]{1,8}$/).map((text) => new Uint8Array(Buffer.from(text))),
)

/** One to four changes. */
export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('flip' as const), at: position, bit: fc.nat(7) }),
    fc.record({ kind: fc.constant('delete' as const), at: position, count: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constant('insert' as const), at: position, bytes: inserted }),
    fc.record({ kind: fc.constant('truncate' as const), at: position }),
    fc.record({
      kind: fc.constant('duplicate' as const),
      at: position,
      count: fc.integer({ min: 1, max: 60 }),
      to: position,
    }),
  ),
  { minLength: 1, maxLength: 4 },
)

/** Applies changes one after the other. */
export function mutate(bytes: Buffer, changes: readonly Mutation[]): Buffer {
  return changes.reduce(mutateOnce, bytes)
}

function mutateOnce(bytes: Buffer, mutation: Mutation): Buffer {
  const at = Math.floor(mutation.at * bytes.length)
  switch (mutation.kind) {
    case 'flip': {
      const flipped = Buffer.from(bytes)
      const byte = flipped[at]
      if (byte !== undefined) flipped[at] = byte ^ (1 << mutation.bit)
      return flipped
    }
    case 'delete':
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + mutation.count)])
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), mutation.bytes, bytes.subarray(at)])
    case 'truncate':
      return bytes.subarray(0, at)
    case 'duplicate': {
      const to = Math.floor(mutation.to * bytes.length)
      return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at, at + mutation.count), bytes.subarray(to)])
    }
  }
}
