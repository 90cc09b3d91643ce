package tlsconf

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Log takes the few lines that operators need.
type Log interface {
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
}

// Current is the Set of files that may be replaced while they are in use, one after the other and in any way. Connections
// that are open keep what they began with.
type Current struct {
	files  Files
	policy Policy
	use    Use
	log    Log
	in     atomic.Pointer[inUse]
	open   connections

	// mu guards the fields below, and lets one goroutine load at a time.
	mu        sync.Mutex
	complaint string   // about the files, last; "": none
	warnings  []string // about what they held, last
}

// inUse is a Set and what was made of it.
type inUse struct {
	set    *Set
	server *tls.Config
	client *tls.Config
}

// Open loads the files, and logs the warnings about them. Its error is that of Load.
func Open(files Files, policy Policy, use Use, log Log) (*Current, error) {
	set, err := files.Load()
	if err != nil {
		return nil, err
	}
	c := &Current{files: files, policy: policy, use: use, log: log}
	c.install(set)
	return c, nil
}

func (c *Current) install(set *Set) {
	c.in.Store(&inUse{set: set, server: c.policy.server(set), client: c.policy.client(set)})
	for _, cut := range c.open.closeRevoked(set) {
		c.log.Warnf("closed the connection with %s: %v", cut.remote, cut.err)
	}
	c.warn(set)
}

// warn logs the warnings that are new: a certificate ends while it is in use, too.
func (c *Current) warn(set *Set) {
	now := set.Warnings(c.files, c.use, time.Now())
	for _, text := range now {
		if !slices.Contains(c.warnings, text) {
			c.log.Warnf("%s", text)
		}
	}
	c.warnings = now
}

// Set is what the files held when they were right last.
func (c *Current) Set() *Set { return c.in.Load().set }

// Reload loads the files. If one is wrong the present Set stays, and the log tells why, once.
func (c *Current) Reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	set, err := c.files.Load()
	if err != nil {
		if text := err.Error(); text != c.complaint {
			c.complaint = text
			c.log.Warnf("%s; what was loaded before stays in use", text)
		}
		return
	}
	c.complaint = ""
	if !set.equal(c.Set()) {
		c.log.Infof("loaded new certificates, which new connections use: %s", c.files.text())
		c.install(set)
		return
	}
	c.warn(set)
}

// equal tells whether two sets hold the same.
func (s *Set) equal(other *Set) bool {
	sameLists := slices.EqualFunc(s.Revoked, other.Revoked, func(a, b *x509.RevocationList) bool { return bytes.Equal(a.Raw, b.Raw) })
	samePair := (s.Certificate == nil) == (other.Certificate == nil) &&
		(s.Certificate == nil || slices.EqualFunc(s.Certificate.Certificate, other.Certificate.Certificate, bytes.Equal))
	return sameLists && samePair && slices.EqualFunc(s.Authorities, other.Authorities, (*x509.Certificate).Equal)
}

// text names the files.
func (f Files) text() string {
	text := ""
	for i, file := range f.all() {
		if i > 0 {
			text += ", "
		}
		text += file.Flag + " " + file.Name
	}
	return text
}

const (
	// lookEvery is how often the files are loaded though no change was seen: not every file system tells of changes.
	lookEvery = time.Minute
	// quiet is how long after the last change they are loaded: a certificate and its key are written one after the other.
	quiet = 100 * time.Millisecond
)

// Run loads the files again when they change, until ctx ends. Without files it returns at once.
func (c *Current) Run(ctx context.Context) {
	if len(c.files.all()) == 0 {
		return
	}
	changes, stop := c.watch()
	defer stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	settled := time.NewTimer(quiet) // what was changed before the watch began
	defer settled.Stop()
	for {
		select {
		case <-changes:
			settled.Reset(quiet)
		case <-settled.C:
			c.Reload()
		case <-look.C:
			c.Reload()
		case <-ctx.Done():
			return
		}
	}
}

// watch tells of changes in the directories of the files: a file that is replaced by another is not the one that could be
// watched. If that is not possible, Run still looks every minute.
func (c *Current) watch() (changes <-chan fsnotify.Event, stop func()) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		c.log.Warnf("new certificates are noticed within a minute only: %v", err)
		return nil, func() {}
	}
	for _, file := range c.files.all() {
		if err := watcher.Add(filepath.Dir(file.Name)); err != nil {
			c.log.Warnf("changes of %s %s are noticed within a minute only: %v", file.Flag, file.Name, err)
		}
	}
	drained := make(chan struct{})
	go func() { // an error means that events were lost; the next look finds what they told
		defer close(drained)
		for range watcher.Errors {
		}
	}()
	return watcher.Events, func() {
		_ = watcher.Close() // there is nothing to lose
		<-drained
	}
}
