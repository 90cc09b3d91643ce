package datadir

import (
	"context"

	"canopy/etcdserver/replica"
	"canopy/snap"
)

// At a start the log is applied while it is read, in two steps that run side by
// side:
//
//	read and decode ──batches──▶ apply
//
// So a start takes about as long as the longer of them, and no more memory than
// what waits between them, however long the log is. The events that the history
// still holds in the end are made then.

// What waits between the steps, in bytes of entries, and in batches.
const (
	replayAhead = 16 << 20
	pipeItems   = 1024
)

// decoded is a batch of entries, and what they say.
type decoded struct {
	batch
	contents []replica.Content
}

// replay reads a log, and applies what is known to be committed.
type replay struct {
	ctx     context.Context
	cancel  context.CancelFunc
	tail    *logTail
	batches *pipe[decoded]
	spare   chan []replica.Content // to be used again
	done    chan struct{}          // closed when the log was read
	err     error                  // of reading it; after done
}

// beginReplay starts to read the log behind a snapshot.
func (r *Recovered) beginReplay(from snap.Meta) *replay {
	p := &replay{
		batches: newPipe[decoded](pipeItems, replayAhead), spare: make(chan []replica.Content, pipeItems),
		done: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tail = newLogTail(from, p.decode)
	p.tail.free = make(chan []byte, pipeItems)
	log := r.Log
	go func() {
		defer close(p.done)
		defer p.batches.close()
		if p.err = log.Replay(from.Index, p.tail.record); p.err == nil {
			p.err = p.tail.hand()
		}
	}()
	return p
}

// stop ends it, and waits.
func (p *replay) stop() {
	p.cancel()
	<-p.done
}

// decode passes a batch on.
func (p *replay) decode(b batch) error {
	var contents []replica.Content
	select {
	case contents = <-p.spare:
	default:
		contents = make([]replica.Content, 0, tailBatchEntries)
	}
	bytes := int64(0)
	for _, e := range b.entries {
		contents = append(contents, replica.Content{})
		if err := contents[len(contents)-1].Decode(e); err != nil {
			return err
		}
		bytes += 2 * (int64(len(e.Data)) + EntryOverhead) // as it was read, and decoded
	}
	return p.batches.put(p.ctx, decoded{b, contents}, bytes)
}

// apply applies all that was read and is committed. Entries that a slow follower
// may need are kept.
func (p *replay) apply(r *Recovered, kept *keptEntries, logger Logger) error {
	r.State.Store.DeferEvents()
	if err := p.batches.each(p.ctx, func(b decoded) error { return p.applyBatch(r, b, kept, logger) }); err != nil {
		p.stop()
		return err
	}
	if <-p.done; p.err != nil {
		return p.err
	}
	r.State.Store.Publish()
	return nil
}

func (p *replay) applyBatch(r *Recovered, b decoded, kept *keptEntries, logger Logger) error {
	for i := range b.entries {
		if err := r.apply(b.entries[i], &b.contents[i], logger); err != nil {
			return err
		}
	}
	for _, room := range kept.add(b.batch, &r.State.Head) {
		select {
		case p.tail.free <- room.memory:
		default:
		}
	}
	clear(b.contents)
	select {
	case p.spare <- b.contents[:0]:
	default:
	}
	return nil
}
