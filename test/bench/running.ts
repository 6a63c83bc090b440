/** A contender at work. */
export interface Running extends AsyncDisposable {
  /** Where clients ask, such as `http://127.0.0.1:6767`. */
  readonly origin: string
  /** The process whose handler answers. */
  readonly handler: { readonly pid: number; collectGarbage?(): Promise<void> }
  /** The process that has the clients' connections, where that is another. */
  readonly front?: { readonly pid: number }
}

/** Waits for a part to start, and stops it with the others. */
export type Use = <T extends AsyncDisposable>(part: Promise<T>) => Promise<T>

/** Starts a contender's parts in turn. They are stopped in the opposite order: at its end, or when one of them cannot start. */
export async function startAll(
  start: (use: Use) => Promise<Omit<Running, typeof Symbol.asyncDispose>>,
): Promise<Running> {
  const parts: AsyncDisposable[] = []
  const stop = async () => {
    for (const part of parts.reverse()) await part[Symbol.asyncDispose]()
  }
  try {
    const running = await start(async (part) => {
      const started = await part
      parts.push(started)
      return started
    })
    return { ...running, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}
