import { spawnSync } from 'node:child_process'

/** Whether network namespaces can be made here: that takes root and Linux. */
export const canMakeNetworks: boolean = process.getuid?.() === 0 && run('ip', 'netns', 'list')

/** Nobody on the line has it: what is sent there arrives at nobody, and nobody says so. */
const NOBODYS_MAC = '02:00:00:00:00:01'

/** A network of its own for a machine of a test, with a line to this one. */
export class Network implements Disposable {
  readonly name: string
  /** This machine's address on the line. */
  readonly here: string
  /** The other end's. */
  readonly there: string
  /** A second pair of addresses, between which packets can be dropped. */
  readonly second: { readonly here: string; readonly there: string }

  /** @param number From 1 to 250, a different one for each at a time. */
  constructor(number: number) {
    this.name = `m2-${process.pid}-${number}`
    this.here = `10.213.${number}.1`
    this.there = `10.213.${number}.2`
    this.second = { here: `10.214.${number}.1`, there: `10.214.${number}.2` }
    ip('netns', 'add', this.name)
    ip('link', 'add', this.#line, 'type', 'veth', 'peer', 'name', this.#inside)
    ip('link', 'set', this.#inside, 'netns', this.name)
    ip('addr', 'add', `${this.here}/24`, 'dev', this.#line)
    ip('addr', 'add', `${this.second.here}/24`, 'dev', this.#line)
    ip('link', 'set', this.#line, 'up')
    ip('-n', this.name, 'addr', 'add', `${this.there}/24`, 'dev', this.#inside)
    ip('-n', this.name, 'addr', 'add', `${this.second.there}/24`, 'dev', this.#inside)
    ip('-n', this.name, 'link', 'set', 'lo', 'up')
    this.mend()
  }

  /** Takes the line down at its other end. */
  cut(): void {
    ip('-n', this.name, 'link', 'set', this.#inside, 'down')
  }

  /** Takes it up; from there, every address of this machine can be reached. */
  mend(): void {
    ip('-n', this.name, 'link', 'set', this.#inside, 'up')
    ip('-n', this.name, 'route', 'replace', 'default', 'via', this.here)
  }

  /** Loses every packet between the second pair of addresses, as a firewall does, or the first. */
  drop({ here, there }: { readonly here: string; readonly there: string } = this.second): void {
    ip('neigh', 'replace', there, 'lladdr', NOBODYS_MAC, 'dev', this.#line, 'nud', 'permanent')
    ip('-n', this.name, 'neigh', 'replace', here, 'lladdr', NOBODYS_MAC, 'dev', this.#inside, 'nud', 'permanent')
  }

  /** Loses no more packets. */
  pass({ here, there }: { readonly here: string; readonly there: string } = this.second): void {
    ip('neigh', 'del', there, 'dev', this.#line)
    ip('-n', this.name, 'neigh', 'del', here, 'dev', this.#inside)
  }

  [Symbol.dispose](): void {
    run('ip', 'link', 'del', this.#line)
    run('ip', 'netns', 'del', this.name)
  }

  get #inside(): string {
    return `${this.#line}b`
  }

  get #line(): string {
    return `v${process.pid}-${this.here.split('.')[2]}`
  }
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
}

function run(program: string, ...args: string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}
