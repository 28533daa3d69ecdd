// Owns which commands of rbd are not in farside, and why: what a script that gives one is told, with exit code 95.
// docs/options.md repeats it, and test/cli/absent.test.ts compares.

/** `name`: its words. */
export type AbsentCommand = { name: string; why: string };

const attaching = 'the kernel attaches by nbd-client, for which device map prints the command line';

export const absentCommands: readonly AbsentCommand[] = [
  { name: 'group', why: 'an image is mirrored by itself; snapshots of several images are taken one by one' },
  { name: 'migration', why: 'cp and deep cp copy within a site, mirroring moves images between sites' },
  { name: 'perf', why: 'no daemon sees the requests of clients; site info counts those of a site' },
  { name: 'encryption', why: 'a site cannot read into encrypted data: encrypt within the image, as with LUKS' },
  { name: 'persistent-cache', why: 'there is no librbd, so there is no cache of it to flush or to invalidate' },
  { name: 'device attach', why: attaching },
  { name: 'device detach', why: 'device unmap does it' },
  { name: 'map', why: attaching },
  { name: 'unmap', why: 'device unmap does it' },
  { name: 'showmapped', why: 'device list shows it' },
  { name: 'watch', why: 'nobody is told of events; mirror pool status --watch looks again and again' },
];
