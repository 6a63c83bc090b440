/** Values that throw when they are looked at or described, each made anew. */
export const HOSTILE: readonly (readonly [what: string, make: () => unknown])[] = [
  ['an object without a prototype', () => Object.create(null)],
  ['an error whose stack throws', () => throwing(new Error('broken'), 'stack')],
  ['an error whose message throws', () => throwing(new Error('broken'), 'message')],
  ['an error whose stack is no text', () => Object.assign(new Error('broken'), { stack: 7, message: {} })],
  ['an object whose toString throws', () => ({ toString: refuse, [Symbol.toPrimitive]: refuse })],
  ['a symbol', () => Symbol('broken')],
  [
    'a proxy whose traps throw',
    () => new Proxy({}, { get: refuse, getPrototypeOf: refuse, has: refuse, ownKeys: refuse }),
  ],
  ['a proxy that was revoked', revoked],
  ['an object whose constructor throws', () => throwing({}, 'constructor')],
]

function refuse(): never {
  throw new Error('do not look')
}

function throwing<Value extends object>(value: Value, key: string): Value {
  return Object.defineProperty(value, key, { get: refuse })
}

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}
