package etcdserver

import (
	"canopy/etcdserver/replica"
	"context"
	"sync"

	"canopy/raft"
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

// eventMakers is how many goroutines make the events of the history in the end.
const eventMakers = 2

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
func (r *recovered) beginReplay(from snap.Meta) *replay {
	p := &replay{
		batches: newPipe[decoded](pipeItems, replayAhead), spare: make(chan []replica.Content, pipeItems),
		done: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tail = newLogTail(from, p.decode)
	p.tail.free = make(chan []byte, pipeItems)
	log := r.log
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
		bytes += 2 * (int64(len(e.Data)) + entryOverhead) // as it was read, and decoded
	}
	return p.batches.put(p.ctx, decoded{b, contents}, bytes)
}

// apply applies all that was read and is committed. Entries that a slow follower
// may need are kept.
func (p *replay) apply(r *recovered, kept *keptEntries, logger memberLog) error {
	r.state.Store.DeferEvents()
	if err := p.batches.each(p.ctx, func(b decoded) error { return p.applyBatch(r, b, kept, logger) }); err != nil {
		p.stop()
		return err
	}
	if <-p.done; p.err != nil {
		return p.err
	}
	var makers sync.WaitGroup
	for _, part := range r.state.Store.MakeEvents(eventMakers) {
		makers.Go(part)
	}
	makers.Wait()
	r.state.Store.Publish()
	return nil
}

func (p *replay) applyBatch(r *recovered, b decoded, kept *keptEntries, logger memberLog) error {
	for i := range b.entries {
		if err := r.apply(b.entries[i], &b.contents[i], logger); err != nil {
			return err
		}
	}
	for _, room := range kept.add(b.batch, &r.state.Head) {
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

// keptEntries are one or two generations of entries that were applied, as the
// raft loop keeps them (forget).
type keptEntries struct {
	base, middle raft.SnapshotMeta // before the older generation, and before the newer one
	older, newer batch
	bytes        int64 // of the newer one
}

// add keeps entries that led to a state. It gives the rooms of those it forgets.
func (k *keptEntries) add(b batch, state *replica.Head) (forgotten []room) {
	k.newer.entries = append(k.newer.entries, b.entries...)
	k.newer.rooms = append(k.newer.rooms, b.rooms...)
	for i := range b.entries {
		k.bytes += int64(len(b.entries[i].Data))
	}
	if len(k.newer.entries) < keepEntriesOf(state) && k.bytes < keepBytes {
		return nil
	}
	forgotten = k.older.rooms
	clear(k.older.entries)
	k.older, k.newer = k.newer, batch{entries: k.older.entries[:0]}
	k.base, k.middle, k.bytes = k.middle, raftMeta(state), 0
	return forgotten
}
