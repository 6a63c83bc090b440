import { SUPERPOLL_HOT_DIVIDEND, SUPERPOLL_MAX_FD } from '../../wire/limits.ts'
import { type Check, NO_CONTROL, NO_PROCESS } from './check.ts'
import type { Facts } from './facts.ts'

/** From this on Mongrel2 stops when connections exceed the part. */
const DIVIDEND_THAT_STOPS = 40
/** The part of a bound at which it is named. */
const NEAR = 0.8
/** Milliseconds that two clocks may differ: Mongrel2 tells whole seconds. */
const CLOCK_TOLERANCE = 5000
/** The versions that this package is made for. */
const VERSION = /^1\.12(?:\.|$)/

/** Mistakes with the machine and the size of Mongrel2. */
export const CAPACITY_CHECKS: readonly Check[] = [
  {
    title: 'Mongrel2 may open enough files',
    find({ server, process, control }) {
      if (process === undefined) return NO_PROCESS
      const wanted = Number(server?.settings.get('superpoll.max_fd') ?? SUPERPOLL_MAX_FD)
      const { maxFiles } = process
      if (maxFiles < wanted) {
        return {
          found: `Mongrel2 may have ${maxFiles} files open, and superpoll.max_fd wants ${wanted}`,
          advice: 'Start it as root, or raise its limit: LimitNOFILE in its systemd unit, or ulimit -n.',
        }
      }
      if (control === undefined || control.connections < NEAR * maxFiles) return undefined
      return {
        found: `Mongrel2 has ${control.connections} connections, and may have ${maxFiles} files open`,
        advice: 'Raise its setting superpoll.max_fd, and start it as root or with a higher LimitNOFILE.',
      }
    },
  },
  {
    title: "superpoll's part for busy connections is large enough",
    find(facts) {
      const dividend = Number(facts.server?.settings.get('superpoll.hot_dividend') ?? SUPERPOLL_HOT_DIVIDEND)
      const files = filesOf(facts)
      const hot = Math.floor(files / dividend)
      const advice =
        'Set "superpoll.hot_dividend": 2 and a higher superpoll.max_fd, such as 20000, and start Mongrel2 again.'
      if (dividend >= DIVIDEND_THAT_STOPS)
        return {
          found: `superpoll.hot_dividend is ${dividend}: Mongrel2 stops when it has more than ${hot} connections`,
          advice,
        }
      if (facts.control === undefined) return NO_CONTROL
      const { connections } = facts.control
      if (connections < NEAR * hot) return undefined
      return {
        found: `Mongrel2 has ${connections} connections, and ${hot} places for busy ones (${files} files by ${dividend}): beyond them, each turn of replies waits`,
        advice,
      }
    },
  },
  {
    title: "Mongrel2's clock is ours",
    find({ control }) {
      if (control === undefined) return NO_CONTROL
      if (Math.abs(control.clock) <= CLOCK_TOLERANCE) return undefined
      return {
        found: `Mongrel2's clock is ${Math.round(Math.abs(control.clock) / 1000)} s ${control.clock > 0 ? 'ahead of' : 'behind'} ours`,
        advice: 'Set both clocks by NTP: tokens of createReplier hold for a time, and logs would not fit together.',
      }
    },
  },
  {
    title: 'The version of Mongrel2 is 1.12',
    find({ process }) {
      if (process?.version === undefined) return NO_PROCESS
      if (VERSION.test(process.version)) return undefined
      return {
        found: `Mongrel2 is ${process.version}, and this package is made for 1.12`,
        advice: 'Install Mongrel2 1.12, in Debian the package mongrel2-core.',
      }
    },
  },
]

/** Files that Mongrel2 may have open. */
function filesOf({ server, process }: Facts): number {
  const wanted = Number(server?.settings.get('superpoll.max_fd') ?? SUPERPOLL_MAX_FD)
  return Math.min(wanted, process?.maxFiles ?? wanted)
}
