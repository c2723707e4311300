/**
 * Bodies of receipts, as they are posted to the notify URL.
 * Source: docs/api.md, receipts; member names and their capitals are those of the original.
 */
import type { ChannelWord, IdentifierType } from './messaging.ts';

export type ReceiptStatus = 'Submitted' | 'Delivered' | 'Read' | 'Clicked' | 'Failed';

/** A pressed button or an inline reply; `MessageRef` and `pushref` both hold the request's pushref. */
export interface ReceiptInteraction {
  readonly Button_Pressed: string;
  readonly MessageRef: string;
  readonly pushref: string;
}

/** What was opened: the link of a button, a smartlink or the web address of a notification. */
export interface ReceiptInteractiveData {
  readonly identifier: string;
  readonly type: 'webUrl';
  readonly title: string;
  readonly url: string;
}

export interface DeliveryInfo {
  /** RFC 3339 with milliseconds. */
  readonly timeStamp: string;
  readonly Description: string;
  readonly code: string;
  readonly deliveryChannel: ChannelWord | 'push';
  readonly additionalInfo: string;
  readonly destination: string;
  readonly destinationType: IdentifierType | '';
  readonly deliveryStatus: ReceiptStatus;
  readonly deviceid?: string;
  readonly pushId?: string;
  readonly interaction?: ReceiptInteraction;
}

/** Submitted, Delivered, Read and Failed. */
export interface DeliveryReceipt {
  readonly deliveryInfoNotification: {
    readonly deliveryInfo: DeliveryInfo;
    readonly subtid: string;
    readonly transid: string;
    readonly callbackData: string;
    readonly correlationid: string;
  };
}

/** Clicked: everything, the transid too, sits inside `deliveryInfo`. */
export interface ClickedReceipt {
  readonly deliveryInfoNotification: {
    readonly deliveryInfo: DeliveryInfo & {
      readonly subtid: string;
      readonly transid: string;
      readonly callbackData: string;
      readonly correlationid: string;
      readonly interactiveData: ReceiptInteractiveData;
    };
  };
}

export type Receipt = DeliveryReceipt | ClickedReceipt;
