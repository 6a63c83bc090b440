import { relative } from 'node:path'
import type { Reporter, TestModule, TestSpecification, Vitest } from 'vitest/node'
import { type Progress, showProgress } from '../../examples/progress.mjs'

/** Shows which test files run, and how much is left: by the time that each file took in an earlier run, or as much as the others. */
export default class ProgressReporter implements Reporter {
  #vitest: Vitest | undefined
  #progress: Progress | undefined
  /** Milliseconds of the files that have not ended, by their paths. */
  readonly #left = new Map<string, number>()
  readonly #running = new Set<string>()
  #total = { files: 0, time: 0 }

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    const known = specifications.map((specification) => [specification.moduleId, this.#timeOf(specification)] as const)
    const times = known.flatMap(([, time]) => time ?? [])
    const usual = times.length === 0 ? 1 : sum(times) / times.length
    for (const [path, time] of known) this.#left.set(path, time ?? usual)
    this.#total = { files: specifications.length, time: sum([...this.#left.values()]) }
    this.#progress = showProgress(process.env.TEST_TITLE ?? 'Testing')
  }

  onTestModuleQueued({ moduleId }: TestModule): void {
    this.#running.add(moduleId)
    this.#show()
  }

  onTestModuleEnd({ moduleId }: TestModule): void {
    this.#running.delete(moduleId)
    this.#left.delete(moduleId)
    this.#show()
  }

  onTestRunEnd(): void {
    this.#progress?.end()
    this.#left.clear()
    this.#running.clear()
  }

  #show(): void {
    const { files, time } = this.#total
    const names = [...this.#running].map((path) => relative(this.#vitest?.config.root ?? '', path))
    const what = [`${files - this.#left.size} of ${files} files`, ...names].join(', ')
    this.#progress?.at(time === 0 ? 0 : 1 - sum([...this.#left.values()]) / time, what)
  }

  /** Milliseconds that Vitest remembers; undefined if it does not know the file. */
  #timeOf({ moduleId, project }: TestSpecification): number | undefined {
    const { cache, config } = project.vitest
    return cache.getFileTestResults(`${project.name}:${relative(config.root, moduleId)}`)?.duration
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
