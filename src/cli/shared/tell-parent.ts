/** Tells the process that has forked this one; resolves when that has been sent, or there is nobody any more. */
export function tellParent<News>(news: News): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(news, () => resolve())
  })
}
