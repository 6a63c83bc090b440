import { spawnSync } from 'node:child_process'

/** Whether network namespaces can be made here: that takes root and Linux. */
export const canMakeNetworks: boolean = process.getuid?.() === 0 && run('ip', 'netns', 'list')

/** Nobody on the line has it: what is sent there arrives at nobody, and nobody says so. */
const NOBODYS_MAC = '02:00:00:00:00:01'

/** Addresses of this machine and of the other end of the line, which talk to each other. */
export interface AddressPair {
  readonly here: string
  readonly there: string
}

/** A network of its own for a machine of a test, with a line to this one. */
export class Network implements Disposable {
  readonly name: string
  /** This machine's address on the line. */
  readonly here: string
  /** The other end's. */
  readonly there: string
  /** More pairs of addresses, between each of which packets can be dropped. */
  readonly second: AddressPair
  readonly third: AddressPair

  /** @param number From 1 to 250, a different one for each at a time. */
  constructor(number: number) {
    this.name = `m2-${process.pid}-${number}`
    this.here = `10.213.${number}.1`
    this.there = `10.213.${number}.2`
    this.second = { here: `10.214.${number}.1`, there: `10.214.${number}.2` }
    this.third = { here: `10.215.${number}.1`, there: `10.215.${number}.2` }
    ip('netns', 'add', this.name)
    ip('link', 'add', this.#line, 'type', 'veth', 'peer', 'name', this.#inside)
    ip('link', 'set', this.#inside, 'netns', this.name)
    for (const { here } of [this, this.second, this.third]) ip('addr', 'add', `${here}/24`, 'dev', this.#line)
    ip('link', 'set', this.#line, 'up')
    for (const { there } of [this, this.second, this.third]) {
      ip('-n', this.name, 'addr', 'add', `${there}/24`, 'dev', this.#inside)
    }
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

  /** Loses every packet between a pair of addresses, as a firewall does. */
  drop({ here, there }: AddressPair): void {
    ip('neigh', 'replace', there, 'lladdr', NOBODYS_MAC, 'dev', this.#line, 'nud', 'permanent')
    ip('-n', this.name, 'neigh', 'replace', here, 'lladdr', NOBODYS_MAC, 'dev', this.#inside, 'nud', 'permanent')
  }

  /** Loses no more packets. */
  pass({ here, there }: AddressPair): void {
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
