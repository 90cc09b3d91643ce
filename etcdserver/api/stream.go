package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"canopy/etcdserver/api/answer"
	"canopy/internal/httpserver/hijack"
	"canopy/internal/memory"
	"canopy/store"
	"canopy/store/watch"
)

// A stream is a watch on a hijacked connection: one for all events, or a long poll. One goroutine with a small
// stack finds out that the client leaves. Another, the sender, exists only while there are events.
type stream struct {
	h    *Handler
	conn *hijack.Conn
	*openWatch
	single  bool      // a long poll: its answer is complete after one event
	keeps   bool      // the client may use its connection again after a complete answer
	renewed time.Time // when conn got its write deadline; the sender's

	senders sync.WaitGroup
	// mu guards the fields below, for a few lines. A Watcher's lock may be taken under it.
	mu      sync.Mutex
	sending bool // there is a sender; it alone uses the watcher
	over    bool // no sender begins any more
}

// startStream makes a stream of a request whose headers are set. False if its connection cannot be hijacked; then nothing has
// happened. HTTP/1.0 has no chunks, and requests of HTTP/2 share a connection.
func (h *Handler) startStream(w http.ResponseWriter, r *http.Request, watch *openWatch, single bool) bool {
	conn, taken := hijack.Take(w, r)
	if !taken {
		return false
	}
	keeps := single && !r.Close && w.Header().Get("Connection") == ""
	s := &stream{h: h, conn: conn, openWatch: watch, single: single, keeps: keeps}
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if s.send(hijack.Head(w.Header(), keeps)) != nil {
		s.conn.Close() // run finds it so
	}
	s.start()
	return true
}

// start begins the stream. It does here what would need a larger stack than that of run.
func (s *stream) start() {
	stop := context.AfterFunc(s.h.watching, s.begin)
	if s.take() && !s.rest() {
		s.senders.Go(s.deliver)
	}
	go s.run(stop) // Handler.Close waits for it
}

// run keeps the stream until the client leaves, or the sender closes or returns the connection. stop ends what start has
// begun.
func (s *stream) run(stop func() bool) {
	defer s.h.watches.drop(s.openWatch)
	s.conn.AwaitEnd()
	stop()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.conn.Close() // ends a write of the sender
	s.watcher.Close()
	s.senders.Wait()
}

// begin begins a sender, unless the stream is over.
func (s *stream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.roused()
	}
}

// roused is called when there is an event: by begin, and by the watcher while it is open.
func (s *stream) roused() {
	s.senders.Go(func() {
		if s.take() {
			s.deliver()
		}
	})
}

// deliver is the sender. It ends when the stream does, or when no event has come for a while; then the next one begins
// another.
func (s *stream) deliver() {
	for {
		sent, ended := s.sendForAWhile()
		if ended {
			s.conn.Close() // unless it was returned
			return
		}
		if !sent && s.rest() {
			return
		}
	}
}

// take tells whether the caller is the sender from now on.
func (s *stream) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.sending {
		return false
	}
	s.sending = true
	return true
}

// rest has the watcher begin a sender for the next event. False: there is one, or the server stops.
func (s *stream) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.h.watching.Err() != nil || !s.watcher.Arm(s.roused) {
		return false
	}
	s.sending = false
	return true
}

// lingers is how long a sender waits for further events. Beginning one for each event of a busy key would cost too much.
const lingers = time.Second

// sendForAWhile sends the events of the next second, and tells whether there were any, and whether the stream has ended.
func (s *stream) sendForAWhile() (sent, ended bool) {
	ctx, cancel := context.WithTimeout(s.h.watching, lingers)
	defer cancel()
	for {
		event, err := s.watcher.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return sent, false
		}
		if err != nil {
			s.finish(err)
			return sent, true
		}
		if sent = true; !s.sendAll(event) {
			return true, true
		}
	}
}

// sendAll sends an event, and those that are queued. False: the stream has ended.
func (s *stream) sendAll(event *watch.Event) bool {
	if s.single {
		if s.sendEvent(event) == nil {
			s.finish(nil)
		}
		return false
	}
	next, err := s.sendBurst(event)
	for next != nil && err == nil {
		next, err = s.sendBurst(next)
	}
	return err == nil
}

// A burst is the most that one write sends of events that are queued.
const (
	burstEvents = 64
	burstBytes  = 32 << 10
)

// sendBurst sends first and queued events. It gives back an event that it took and that did not fit.
func (s *stream) sendBurst(first *watch.Event) (next *watch.Event, err error) {
	next = s.queued()
	if next == nil || len(first.JSON()) > sharedFrameBytesMax {
		return next, s.sendEvent(first)
	}
	buffer := s.h.answers.Buffer()
	defer s.h.answers.Release(buffer)
	b := append(*buffer, s.h.frames.of(first)...)
	for n := 1; next != nil && n < burstEvents && len(b)+len(next.JSON()) < burstBytes; n++ {
		b = append(b, s.h.frames.of(next)...)
		next = s.queued()
	}
	*buffer = b
	return next, s.send(b)
}

// queued gives the next event if there is one. Watcher.Next gives queued events before it checks the context; its other
// errors occur again when sendForAWhile calls it to wait.
func (s *stream) queued() *watch.Event {
	event, err := s.watcher.Next(s.h.never)
	if err != nil {
		return nil
	}
	return event
}

func (s *stream) sendEvent(event *watch.Event) error {
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
	buffer := s.h.answers.Buffer()
	defer s.h.answers.Release(buffer)
	b := append(*buffer, chunkHead(len(json))...)
	for ended := false; !ended; {
		n := min(len(json), answer.PieceBytes-len(b)-len("\r\n"))
		b, json = append(b, json[:n]...), json[n:]
		if ended = len(json) == 0; ended {
			b = append(b, "\r\n"...)
		}
		*buffer = b
		if hold.Over() {
			return answer.ErrCutOff
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

// finish ends the body with the last chunk. Before that it sends a line with the reason if the watch could not continue;
// err is nil if it is complete.
func (s *stream) finish(err error) {
	var end []byte
	if line := s.h.lastLine(err); line != nil {
		end = appendFrame(end, line)
	}
	end = append(end, "0\r\n\r\n"...)
	if s.send(end) == nil && s.keeps { // else the client has left, or knows that the connection ends
		s.conn.Return()
	}
}

// sharedFrameBytesMax is the size of an event up to which its frame is kept for other watchers.
const sharedFrameBytesMax = 16 << 10

// frameCache keeps the frames of the latest events, since all watchers of an event need the same frame at about the same
// time. Its length and sharedFrameBytesMax bound its memory.
type frameCache [16]atomic.Pointer[frame]

// A frame is an event as a chunk of an HTTP/1.1 body. It is immutable.
type frame struct {
	event *watch.Event
	bytes []byte
}

// of gives the frame of an event.
func (c *frameCache) of(event *watch.Event) []byte {
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
