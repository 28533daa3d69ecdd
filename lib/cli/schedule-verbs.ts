// Owns what the commands on schedules of mirror snapshots and of purges share.

import { FarsideError } from '../errors.ts';
import { SilentExit } from './output/failure.ts';
import { levelArgument, optionalTextArgument, switchOption, textArgument } from './parse/parameters.ts';

export const additionArguments = {
  level: levelArgument,
  interval: textArgument('interval', 'digits and d, h or m; minutes without a letter', "missing 'interval' argument"),
  startTime: optionalTextArgument('start-time', 'time of day to count from: 14:00:00-05:00'),
};
export const removalArguments = {
  level: levelArgument,
  interval: optionalTextArgument('interval', 'interval of the schedule to remove'),
  startTime: optionalTextArgument('start-time', 'start time of the schedule to remove'),
};
export const listOptions = { recursive: switchOption('-R, --recursive', 'list all levels below, too') };

/** A level that does not exist is EINVAL; ENOENT and an empty list mean that it has no schedule: exit 2, silently, as in rbd. */
export async function orNothing<T extends unknown[]>(list: () => Promise<T>): Promise<T> {
  const value = await list().catch((error: unknown) => {
    throw error instanceof FarsideError && error.code === 'ENOENT' ? new SilentExit('ENOENT') : error;
  });
  if (value.length === 0) throw new SilentExit('ENOENT');
  return value;
}
