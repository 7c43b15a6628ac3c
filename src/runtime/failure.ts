import { ImagoError } from '../core/errors.ts';
import { lastMessage } from './find-runtime.ts';

/**
 * What a runtime said when it could not start a container or a process in one, as an error with Docker's exit status:
 * 127 the command is not there, 126 it cannot be executed, 125 anything else.
 */
export function runtimeFailure(text: string): ImagoError {
  const message = lastMessage(text);
  // "runc create failed: unable to start container process: exec: …": the last part is what the user can act on.
  const reason = message
    .replace(/^runc (create|run|exec|start) failed: /, '')
    .replace(/^unable to start container process: /, '');
  const shown = reason || 'the runtime gave no reason';
  if (
    /executable file.* not found|(exec:|exec container process|open executable).*no such file or directory/i.test(
      message,
    )
  ) {
    return new ImagoError('COMMAND_NOT_FOUND', `cannot run the command: ${shown}`, { exitCode: 127 });
  }
  // crun's words after runc's.
  if (
    /permission denied|is a directory|exec format error/i.test(message) &&
    /exec:|exec container|open executable/.test(message)
  ) {
    return new ImagoError('COMMAND_NOT_EXECUTABLE', `cannot run the command: ${shown}`, { exitCode: 126 });
  }
  return new ImagoError('START_FAILED', `cannot start the container: ${shown}`, { exitCode: 125 });
}
