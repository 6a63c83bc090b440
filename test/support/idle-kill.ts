/**
 * Settings of a Mongrel2 that looks every second for connections with no sign of life for longer than so many seconds, whatever they have
 * read or written before.
 */
export function idleKill(seconds: number): Record<string, number> {
  return {
    'limits.tick_timer': 1,
    'limits.min_ping': seconds,
    'limits.min_read_rate': 0,
    'limits.min_write_rate': 0,
    'limits.kill_limit': 0,
  }
}
