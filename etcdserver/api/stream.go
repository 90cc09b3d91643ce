package api

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"canopy/internal/httpserver/hijack"
	"canopy/internal/memory"
	"canopy/store"
)

// A stream is a streaming watch on a hijacked connection. It has two goroutines with small stacks: one sends events, and one
// finds out that the client leaves.
type stream struct {
	h       *Handler
	conn    *hijack.Conn
	watcher *store.Watcher
	renewed time.Time // when conn got its write deadline
}

// startStream makes a stream of a request whose headers are set. False if its connection cannot be hijacked; then nothing has
// happened. HTTP/1.0 has no chunks, and requests of HTTP/2 share a connection.
func (h *Handler) startStream(w http.ResponseWriter, r *http.Request, watcher *store.Watcher) bool {
	conn, taken := hijack.Take(w, r)
	if !taken {
		return false
	}
	s := &stream{h: h, conn: conn, watcher: watcher}
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	head := hijack.Head(w.Header())
	go s.run(h.watching, head) // Handler.Close waits for it
	return true
}

// run serves the stream until one side ends it.
func (s *stream) run(ctx context.Context, head []byte) {
	defer s.h.watches.leave()
	s.conn.Serve(ctx, func(ctx context.Context) {
		if s.send(head) == nil {
			s.deliver(ctx)
		}
		s.watcher.Close()
	})
}

// A burst is the most that one write sends of events that are queued.
const (
	burstEvents = 64
	burstBytes  = 32 << 10
)

// deliver sends one event after the other. Those that are queued meanwhile go out in one write.
func (s *stream) deliver(ctx context.Context) {
	for {
		event, err := s.watcher.Next(ctx)
		if err != nil {
			s.finish(err)
			return
		}
		next, err := s.sendBurst(event)
		for next != nil && err == nil {
			next, err = s.sendBurst(next)
		}
		if err != nil {
			return
		}
	}
}

// sendBurst sends first and queued events. It gives back an event that it took and that did not fit.
func (s *stream) sendBurst(first *store.Event) (next *store.Event, err error) {
	next = s.queued()
	if next == nil || len(first.JSON()) > sharedFrameBytesMax {
		return next, s.sendEvent(first)
	}
	buffer := s.h.buffer()
	defer s.h.release(buffer)
	b := append(*buffer, s.h.frames.of(first)...)
	for n := 1; next != nil && n < burstEvents && len(b)+len(next.JSON()) < burstBytes; n++ {
		b = append(b, s.h.frames.of(next)...)
		next = s.queued()
	}
	*buffer = b
	return next, s.send(b)
}

// queued gives the next event if there is one. Watcher.Next gives queued events before it checks the context; its other
// errors occur again when deliver calls it to wait.
func (s *stream) queued() *store.Event {
	event, err := s.watcher.Next(s.h.never)
	if err != nil {
		return nil
	}
	return event
}

func (s *stream) sendEvent(event *store.Event) error {
	json := event.JSON()
	if len(json) <= sharedFrameBytesMax {
		return s.send(s.h.frames.of(event))
	}
	return s.sendPieces(json)
}

// sendPieces sends a large event. The client has its time-out for each piece.
func (s *stream) sendPieces(json []byte) error {
	hold := s.h.o.Memory.HoldAnyway(memory.Answer{Shared: &json[0], Bytes: int64(len(json)), Cut: s.cut})
	defer hold.End()
	buffer := s.h.buffer()
	defer s.h.release(buffer)
	b := append(*buffer, chunkHead(len(json))...)
	for ended := false; !ended; {
		n := min(len(json), pieceBytes-len(b)-len("\r\n"))
		b, json = append(b, json[:n]...), json[n:]
		if ended = len(json) == 0; ended {
			b = append(b, "\r\n"...)
		}
		*buffer = b
		if hold.Over() {
			return errCutOff
		}
		hold.Progress()
		if err := s.send(b); err != nil {
			return err
		}
		b = b[:0]
	}
	return nil
}

// cut makes the present write fail.
func (s *stream) cut() { _ = s.conn.SetWriteDeadline(time.Unix(1, 0)) }

func (s *stream) send(b []byte) error {
	s.renewDeadline()
	_, err := s.conn.Write(b)
	return err
}

// renewDeadline gives the client its time to read the next event. Setting it for each event of a burst would cost too much.
func (s *stream) renewDeadline() {
	patience := s.h.o.WriteTimeout
	if now := time.Now(); now.Sub(s.renewed) > patience/2 {
		s.renewed = now
		_ = s.conn.SetWriteDeadline(now.Add(patience))
	}
}

// finish ends the body with the last chunk. Before that it sends a line with the reason if the watch could not continue.
func (s *stream) finish(err error) {
	var end []byte
	if line := s.h.lastLine(err); line != nil {
		end = appendFrame(end, line)
	}
	end = append(end, "0\r\n\r\n"...)
	_ = s.send(end) // fails if the client has left
}

// sharedFrameBytesMax is the size of an event up to which its frame is kept for other watchers.
const sharedFrameBytesMax = 16 << 10

// frameCache keeps the frames of the latest events, since all watchers of an event need the same frame at about the same
// time. Its length and sharedFrameBytesMax bound its memory.
type frameCache [16]atomic.Pointer[frame]

// A frame is an event as a chunk of an HTTP/1.1 body. It is immutable.
type frame struct {
	event *store.Event
	bytes []byte
}

// of gives the frame of an event.
func (c *frameCache) of(event *store.Event) []byte {
	place := &c[event.Index()%store.Index(len(c))]
	if f := place.Load(); f != nil && f.event == event {
		return f.bytes
	}
	json := event.JSON()
	f := &frame{event, appendFrame(make([]byte, 0, len(json)+20), json)}
	if len(json) <= sharedFrameBytesMax {
		place.Store(f)
	}
	return f.bytes
}

func appendFrame(b, data []byte) []byte {
	b = append(b, chunkHead(len(data))...)
	b = append(b, data...)
	return append(b, "\r\n"...)
}

func chunkHead(n int) []byte { return append(strconv.AppendInt(nil, int64(n), 16), "\r\n"...) }
