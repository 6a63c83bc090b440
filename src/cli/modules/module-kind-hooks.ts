import type { LoadFnOutput, LoadHookContext, ResolveFnOutput, ResolveHookContext } from 'node:module'
import { languageOf, moduleKind } from './module-kind.ts'

type Format = LoadHookContext['format']

/** Hooks for Node's loader, by which a module is of the kind that it is, whatever the `type` of its project. */
export interface ModuleKindHooks {
  resolve<Result extends ResolveFnOutput | Promise<ResolveFnOutput>>(
    specifier: string,
    context: ResolveHookContext,
    next: (specifier: string, context: ResolveHookContext) => Result,
  ): Result | Promise<ResolveFnOutput> | ResolveFnOutput
  load<Result>(
    url: string,
    context: LoadHookContext,
    next: (url: string, context: LoadHookContext) => Result,
  ): Result | LoadFnOutput
}

/** @param tsx Whether tsx comes after them and turns TypeScript and JSX into JavaScript. */
export function moduleKindHooks(tsx: boolean): ModuleKindHooks {
  const formatOf = (url: string): Format => {
    const kind = moduleKind(url)
    // Where nothing can read it, Node's own error names the file.
    if (kind === undefined || tsx || languageOf(url) === 'javascript') return kind
    return languageOf(url) === 'typescript' ? (`${kind}-typescript` as Format) : undefined
  }
  return {
    resolve: (specifier, context, next) => {
      const withFormat = (resolved: ResolveFnOutput) => ({
        ...resolved,
        format: formatOf(resolved.url) ?? resolved.format,
      })
      const resolved = next(specifier, context)
      return resolved instanceof Promise ? resolved.then(withFormat) : withFormat(resolved)
    },
    load: (url, context, next) => {
      const format = formatOf(url)
      // Without a source the CommonJS loader reads the file, and `require` in it is the usual one.
      if (format?.startsWith('commonjs')) return { format: 'commonjs', shortCircuit: true }
      return next(url, { ...context, format: format ?? context.format })
    },
  }
}

/** For Node 20, which imports this module in a thread of its own, with `?tsx` if tsx comes after it. */
export const { resolve, load } = moduleKindHooks(import.meta.url.endsWith('?tsx'))
