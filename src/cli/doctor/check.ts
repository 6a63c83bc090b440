import type { Facts } from './facts.ts'

/** A mistake that people make, and how it is found. */
export interface Check {
  /** What is so without the mistake. */
  readonly title: string
  /** Looks for the mistake: nothing if all is well. */
  find(facts: Facts): Mistake | Unknown | undefined
}

export interface Mistake {
  readonly found: string
  /** What to do. */
  readonly advice: string
}

/** Why nothing can be said. */
export interface Unknown {
  readonly unknown: string
}

export const NO_DATABASE: Unknown = { unknown: 'it is in the database, which --mongrel2 names' }
export const NO_PROCESS: Unknown = { unknown: 'the process of Mongrel2 cannot be seen from here' }
export const NO_CONTROL: Unknown = { unknown: 'the control port does not answer' }
