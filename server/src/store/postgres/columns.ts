/** Rows for one statement, held by column: each column goes along as one array, and the statement's size is always the same. */
export class Columns {
  private readonly columns: unknown[][];
  private rows = 0;

  constructor(width: number) {
    this.columns = Array.from({ length: width }, () => []);
  }

  get isEmpty(): boolean {
    return this.rows === 0;
  }

  get count(): number {
    return this.rows;
  }

  add(...values: readonly unknown[]): void {
    this.rows += 1;
    this.columns.forEach((column, index) => column.push(values[index] ?? null));
  }

  get values(): readonly unknown[][] {
    return this.columns;
  }
}

/** `unnest($1::bigint[], $2::text[], …)` for these types. */
export function unnest(...types: readonly string[]): string {
  return `unnest(${types.map((type, index) => `$${index + 1}::${type}[]`).join(', ')})`;
}
