// Package inbox hands items from many goroutines to one.
package inbox

import "sync"

// Inbox is a bounded queue. Any goroutine may call Put; one goroutine waits for
// Wake and takes all items at once.
//
//	0 <= number of items <= limit
//	0 <= bytes of items  <= bytesMax, or there is one item
type Inbox[T any] struct {
	wake chan struct{} // has room for one: the taker looks for itself

	// mu guards items, for the length of an append or a swap.
	mu    sync.Mutex
	items []T
	limit int
	bytes int // of items

	weigh    func(T) int // nil: items have no weight
	bytesMax int
}

// New makes an inbox for so many items.
func New[T any](limit int) *Inbox[T] {
	return &Inbox[T]{wake: make(chan struct{}, 1), limit: limit}
}

// Weighing bounds an inbox in bytes, too. It is called before the first Put.
func (b *Inbox[T]) Weighing(weigh func(T) int, bytesMax int) *Inbox[T] {
	b.weigh, b.bytesMax = weigh, bytesMax
	return b
}

// Wake receives a value when an empty inbox gets an item.
func (b *Inbox[T]) Wake() <-chan struct{} { return b.wake }

// Put adds an item; false means that the inbox is full. One item always fits.
func (b *Inbox[T]) Put(item T) bool {
	b.mu.Lock()
	if len(b.items) >= b.limit {
		b.mu.Unlock()
		return false
	}
	if b.weigh != nil {
		bytes := b.weigh(item)
		if len(b.items) > 0 && b.bytes+bytes > b.bytesMax {
			b.mu.Unlock()
			return false
		}
		b.bytes += bytes
	}
	b.items = append(b.items, item)
	first := len(b.items) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// Take gives all items, in the order of Put. It empties spare and keeps it for
// the next items.
func (b *Inbox[T]) Take(spare []T) []T {
	clear(spare)
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items, b.bytes = spare[:0], 0
	return items
}
