/** Returns a function that makes a value when it is first called, and returns the same afterwards. An error is not kept. */
export function lazy<Value extends NonNullable<unknown>>(make: () => Value): () => Value {
  let value: Value | undefined
  return () => (value ??= make())
}
