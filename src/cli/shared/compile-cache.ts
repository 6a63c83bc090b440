import Module from 'node:module'
import { userInfo } from 'node:os'
import { isAbsolute, join } from 'node:path'

/** Node has it from 22.8 on. */
type NewerModule = typeof Module & { readonly enableCompileCache?: (directory: string) => unknown }

/**
 * Lets Node keep the compiled code of the modules that this thread imports from now on, and use it at the next start. In a directory of this
 * user's: code in Node's own one, below the temporary directory, may have been put there by others. Where it cannot be written, nothing is kept.
 */
export function enableCompileCache(): void {
  const { CACHE_DIRECTORY, XDG_CACHE_HOME } = process.env
  // systemd's `CacheDirectory=`, then the XDG Base Directory Specification; but not HOME, which `sudo` may leave to another user's.
  const parent = [CACHE_DIRECTORY?.split(':')[0], XDG_CACHE_HOME, join(homeOfUser(), '.cache')].find(
    (path) => path !== undefined && isAbsolute(path),
  )
  if (parent !== undefined) (Module as NewerModule).enableCompileCache?.(join(parent, 'mongrel2-fetch'))
}

function homeOfUser(): string {
  try {
    return userInfo().homedir
  } catch {
    return '' // the system does not know the user
  }
}
