/** Units and table columns of amounts of money and their shares. */
import type { Column } from './panels';

/** An amount of money, never abbreviated. Its currency is in the title or in another column. */
export const moneyUnit = { unit: 'locale', decimals: 2 };
export const shareUnit = { unit: 'percentunit', decimals: 1 };

export const amountColumn = (field: string, heading: string): Column => ({ field, heading, settings: moneyUnit });
/** A column with a change of an amount: increases are orange, decreases green. */
export const changeColumn = (field: string, heading: string): Column => ({
  field,
  heading,
  settings: {
    ...moneyUnit,
    thresholds: {
      mode: 'absolute',
      steps: [
        { value: null, color: 'green' },
        { value: 0, color: 'text' },
        { value: 0.005, color: 'orange' },
      ],
    },
    'custom.cellOptions': { type: 'color-text' },
  },
});
