package audit

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/internal/middleware"
)

// Entries that may wait for the file, and their texts, in bytes.
const (
	queueMax      = 4096
	queueBytesMax = 8 << 20
)

// tellEvery is how often the process's log tells of entries that were dropped.
const tellEvery = 10 * time.Second

// Options are the settings of a log.
type Options struct {
	File    string // "-": standard output; "": there is no log
	Reads   bool   // reads are written, too
	Dropped func() // called for each entry that is lost
	Log     logrus.FieldLogger
}

// Log is an audit log. Any goroutine may call Serve.
type Log struct {
	o      Options
	prefix string // of the IDs that are made here
	made   atomic.Uint64

	queue   chan *Entry
	bytes   atomic.Int64  // of the texts in queue; <= queueBytesMax
	dropped atomic.Uint64 // entries that the file does not tell of yet
	lost    atomic.Uint64 // entries that the process's log does not tell of yet
	stop    chan struct{}
	ended   chan struct{}
}

// Open opens the file, which is made if it is not there, with mode 0600, and appended to if it is. At SIGHUP it is opened
// again by its name, so that it can be moved away before. Close must be called. Without a name of a file the log is nil.
func Open(o Options) (*Log, error) {
	if o.File == "" {
		return nil, nil
	}
	file, err := openFile(o.File)
	if err != nil {
		return nil, fmt.Errorf("--audit-log: %w", err)
	}
	l := &Log{o: o, prefix: rand.Text()[:8] + "-", queue: make(chan *Entry, queueMax), stop: make(chan struct{}), ended: make(chan struct{})}
	hangup := make(chan os.Signal, 1)
	if o.File != standardOutput {
		signal.Notify(hangup, syscall.SIGHUP)
	}
	go func() {
		defer close(l.ended)
		defer signal.Stop(hangup)
		l.write(file, hangup)
	}()
	return l, nil
}

const standardOutput = "-"

func openFile(name string) (io.WriteCloser, error) {
	if name == standardOutput {
		return keptOpen{os.Stdout}, nil
	}
	return os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// keptOpen is a file of the whole process.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// closeTimeout is how long a pipe that nobody reads can delay the end of the process.
const closeTimeout = 2 * time.Second

// Close writes what waits, and closes the file. Entries that come later are lost.
func (l *Log) Close() {
	if l == nil {
		return
	}
	close(l.stop)
	patience := time.NewTimer(closeTimeout)
	defer patience.Stop()
	select {
	case <-l.ended:
	case <-patience.C:
		l.o.Log.Errorf("the audit log does not take its last %d entries", len(l.queue))
	}
}

// Serve has a request served, and writes its entry if it is one that is wanted.
func (l *Log) Serve(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	e := begin(r, l.idOf(r), time.Now())
	r = r.WithContext(With(r.Context(), e))
	middleware.Log(w, r, serve, func(a middleware.Access) {
		index, err := strconv.ParseUint(w.Header().Get("X-Etcd-Index"), 10, 64)
		if err != nil {
			index = 0 // the answer has none
		}
		e.end(a.Status, index)
		if l.o.Reads || !e.isRead() || e.Outcome == Refused {
			l.add(e)
		}
	})
}

func (l *Log) idOf(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); isID(id) {
		return id
	}
	return l.prefix + strconv.FormatUint(l.made.Add(1), 10)
}

func (l *Log) add(e *Entry) {
	if l.bytes.Add(e.bytes()) <= queueBytesMax {
		select {
		case l.queue <- e:
			return
		default:
		}
	}
	l.bytes.Add(-e.bytes())
	l.drop(1)
}

func (l *Log) drop(n uint64) {
	l.dropped.Add(n)
	l.lost.Add(n)
	if l.o.Dropped != nil {
		for range n {
			l.o.Dropped()
		}
	}
}

// write is the goroutine that owns the file.
func (l *Log) write(file io.WriteCloser, hangup <-chan os.Signal) {
	out := &output{Log: l, file: file, buffer: bufio.NewWriterSize(file, 64<<10)}
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	defer out.end()
	for {
		select {
		case e := <-l.queue:
			out.put(e)
			if len(l.queue) == 0 {
				out.flush()
			}
		case <-hangup:
			out.reopen()
		case <-tick.C:
			out.tell()
		case <-l.stop:
			return
		}
	}
}

// end writes what is left.
func (o *output) end() {
	for len(o.queue) > 0 {
		o.put(<-o.queue)
	}
	o.flush()
	o.tell()
	if err := o.file.Close(); err != nil {
		o.o.Log.Warnf("the audit log is not closed in order: %v", err)
	}
}

// output is the open file.
type output struct {
	*Log
	file    io.WriteCloser
	buffer  *bufio.Writer
	waiting uint64 // entries in buffer
	telling uint64 // dropped entries that a line in buffer tells of
	failure error  // the last one that tell has not told of
}

func (o *output) put(e *Entry) {
	o.Log.bytes.Add(-e.bytes())
	if n := o.dropped.Swap(0); n > 0 {
		o.telling += n
		o.line(struct {
			Time    time.Time `json:"time"`
			Dropped uint64    `json:"dropped"`
		}{time.Now().UTC(), n})
	}
	o.line(e)
	o.waiting++
}

// line writes one line. A bufio.Writer keeps its first error for flush.
func (o *output) line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		o.failure = err
		return
	}
	_, _ = o.buffer.Write(append(b, '\n'))
}

// flush writes what waits. After an error the next entry is tried again, on a line of its own: there may be room then.
func (o *output) flush() {
	if err := o.buffer.Flush(); err != nil {
		o.failure = err
		o.drop(o.waiting)
		o.dropped.Add(o.telling)
		o.buffer.Reset(o.file)
		_ = o.buffer.WriteByte('\n') // it is only buffered
	}
	o.waiting, o.telling = 0, 0
}

func (o *output) reopen() {
	o.flush()
	file, err := openFile(o.o.File)
	if err != nil {
		o.o.Log.Errorf("SIGHUP: the audit log goes on in the file that is open: %v", err)
		return
	}
	if err := o.file.Close(); err != nil {
		o.o.Log.Warnf("the audit log is not closed in order: %v", err)
	}
	o.file = file
	o.buffer.Reset(file)
	o.o.Log.Infof("SIGHUP: the audit log is opened again: %s", o.o.File)
}

// tell tells the process's log of what is lost.
func (o *output) tell() {
	switch n := o.lost.Swap(0); {
	case o.failure != nil:
		o.o.Log.Errorf("the audit log lost %d entries: %v", n, o.failure)
	case n > 0:
		o.o.Log.Errorf("the audit log lost %d entries: they came faster than they could be written", n)
	}
	o.failure = nil
}
