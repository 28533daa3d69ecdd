// Owns how a broken invariant is told.

export type InvariantName = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I10' | 'I11' | 'model';

/** `model`: the image does something that no command and no replication explains. */
export class Violation extends Error {
  readonly invariant: InvariantName;

  constructor(invariant: InvariantName, message: string) {
    super(`${invariant} is broken: ${message}`);
    this.name = 'Violation';
    this.invariant = invariant;
  }
}
