package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"canopy/client"
	"canopy/internal/lasting"
	"canopy/rafthttp"
)

const (
	// refreshSpacing is the least time between refreshes, and the time between them while no endpoint is known (P10).
	refreshSpacing = time.Second
	// peerTimeout is for one member to answer.
	peerTimeout = 5 * time.Second
	// listBytesMax bounds a list of members.
	listBytesMax = 1 << 20
	// doubtAfter is how long all known peers may be silent before those of the flags are asked too (P5).
	doubtAfter = time.Minute
)

// A refresher finds the members of the cluster. One goroutine uses it.
type refresher struct {
	p         *Proxy
	client    *http.Client // for peer URLs
	note      *clusterNote
	fromFlags bool      // the note came from the flags in this run, so they have nothing new
	heard     time.Time // when a member last answered; at first the start
	found     bool      // endpoints were found in this run
	beginning time.Time // since when a member has not published its client URLs; zero: all have
	complaint string    // the failures that were logged last
	failing   lasting.Condition
}

// firstNote is the first list of peers (P3).
func (p *Proxy) firstNote(ctx context.Context) (*clusterNote, error) {
	if p.known != nil {
		p.o.Log.Infof("proxy: using peer urls %v from cluster file %q", p.known.PeerURLs, p.file.name)
		return p.known, nil
	}
	urls, err := p.o.Peers(ctx)
	if err != nil {
		return nil, err
	}
	if len(urls) == 0 {
		return nil, errors.New("proxy: no peer URL is known to find the cluster")
	}
	p.o.Log.Infof("proxy: using peer urls %v", urls)
	return &clusterNote{PeerURLs: sorted(urls)}, nil
}

func sorted(urls []string) []string { return slices.Compact(slices.Sorted(slices.Values(urls))) }

// keepRefreshing refreshes until ctx ends: at each interval, when woken, and each second while no endpoint is known or a
// member is starting.
func (p *Proxy) keepRefreshing(ctx context.Context, first *clusterNote) {
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: max(p.o.DialTimeout, 0)}).DialContext, DisableKeepAlives: true,
	}
	if p.o.TLS != nil {
		transport.TLSClientConfig = p.o.TLS.Clone()
	} else {
		transport.TLSClientConfig = &tls.Config{}
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s := &refresher{p: p, client: &http.Client{Transport: transport, CheckRedirect: stay}, note: first, fromFlags: p.known == nil, heard: time.Now()}
	for {
		s.refresh(ctx)
		wait := p.o.RefreshInterval
		begins := !s.beginning.IsZero() && time.Since(s.beginning) < doubtAfter // a member that is never started counts for a minute only
		if len(p.list.all()) == 0 || begins {
			wait = min(wait, refreshSpacing)
		}
		if !sleep(ctx, min(wait, refreshSpacing), nil) || !sleep(ctx, wait-refreshSpacing, p.refreshNow) {
			return
		}
	}
}

// sleep waits for a time, or until it is woken; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-woken:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// report is a member's answer about its cluster.
type report struct {
	cluster        uint64
	peers, clients []string // sorted
	begins         bool     // a member has not published its client URLs yet
}

// refresh asks all peers, and accepts the answer of most of them (P9), so that a member that lags, or does not know that it
// was removed, is outvoted. If no peer answers, it asks members on their client ports. If none gives a usable list, nothing
// changes (P11).
func (s *refresher) refresh(ctx context.Context) {
	good, failures := s.askAll(ctx, s.peers(ctx), s.askPeer)
	if len(good) > 0 {
		failures = nil
	} else {
		var more []string
		good, more = s.askAll(ctx, s.note.ClientURLs, s.askMember)
		failures = append(failures, more...)
	}
	if ctx.Err() != nil {
		return
	}
	s.complain(failures, len(good) == 0)
	if len(good) > 0 {
		s.heard = time.Now()
		s.accept(mostCommon(good))
	}
}

// askAll asks all URLs at once. It gives the usable reports, and the errors of the others.
func (s *refresher) askAll(ctx context.Context, urls []string, ask func(context.Context, string) (client.Membership, error)) (good []report, failures []string) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	reports, errs := make([]report, len(urls)), make([]error, len(urls))
	var asking sync.WaitGroup
	for n, url := range urls {
		asking.Go(func() {
			all, err := ask(ctx, url)
			if err == nil {
				reports[n], err = s.read(all)
			}
			errs[n] = err
		})
	}
	asking.Wait()
	for n, err := range errs {
		if err == nil {
			good = append(good, reports[n])
		} else {
			failures = append(failures, fmt.Sprintf("could not get cluster response from %s: %v", urls[n], err))
		}
	}
	return good, failures
}

// askPeer asks a member on its peer port.
func (s *refresher) askPeer(ctx context.Context, url string) (client.Membership, error) {
	cluster, members, err := rafthttp.FetchMembers(ctx, s.client, url)
	all := client.Membership{ClusterID: cluster}
	for _, m := range members {
		all.Members = append(all.Members, client.Member{PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	return all, err
}

// askMember asks a member on its client port.
func (s *refresher) askMember(ctx context.Context, url string) (client.Membership, error) {
	c, err := client.New(client.Config{Endpoints: []string{url}, TLS: s.p.o.TLS, DialTimeout: s.p.o.DialTimeout, AnswerBytes: listBytesMax})
	if err != nil {
		return client.Membership{}, err
	}
	defer c.Close()
	all, err := c.Members(ctx)
	if err == nil && all.ClusterID == 0 {
		err = errors.New("its answer has no cluster ID")
	}
	return all, err
}

// read refuses reports that cannot be used (P12).
func (s *refresher) read(all client.Membership) (report, error) {
	if s.note.ClusterID != 0 && all.ClusterID != s.note.ClusterID {
		return report{}, fmt.Errorf("it belongs to the cluster %x, and this proxy to %x: delete %s to move it", all.ClusterID, s.note.ClusterID, s.p.file.name)
	}
	r := report{cluster: all.ClusterID}
	for _, m := range all.Members {
		r.peers = append(r.peers, m.PeerURLs...)
		r.clients = append(r.clients, m.ClientURLs...)
		r.begins = r.begins || len(m.ClientURLs) == 0
	}
	r.peers, r.clients = sorted(r.peers), sorted(r.clients)
	if len(r.peers) == 0 {
		return report{}, errors.New("it names no members")
	}
	return r, nil
}

// mostCommon gives the report on which most members agree; the first one of several.
func mostCommon(reports []report) report {
	votes := func(of report) (n int) {
		for _, r := range reports {
			if r.cluster == of.cluster && slices.Equal(r.peers, of.peers) && slices.Equal(r.clients, of.clients) {
				n++
			}
		}
		return n
	}
	best := reports[0]
	for _, r := range reports[1:] {
		if votes(r) > votes(best) {
			best = r
		}
	}
	return best
}

// peers are the URLs to ask: the known ones and, once those have been silent for long, those of the flags, which may have
// changed since (P5).
func (s *refresher) peers(ctx context.Context) []string {
	if s.fromFlags || time.Since(s.heard) < doubtAfter {
		return s.note.PeerURLs
	}
	flags, err := s.p.o.Peers(ctx)
	if err != nil {
		return s.note.PeerURLs
	}
	return sorted(slices.Concat(s.note.PeerURLs, flags))
}

// accept applies a report.
func (s *refresher) accept(r report) {
	note := &clusterNote{PeerURLs: r.peers, ClientURLs: r.clients, ClusterID: r.cluster}
	if len(r.clients) == 0 {
		note.ClientURLs = s.note.ClientURLs // the cluster is about to start
	}
	s.remember(note)
	switch {
	case !r.begins:
		s.beginning = time.Time{}
	case s.beginning.IsZero():
		s.beginning = time.Now()
	}
	if len(r.clients) == 0 {
		return
	}
	if err := s.p.list.replace(r.clients, &s.p.o); err != nil {
		s.p.o.Log.Warnf("proxy: a member advertises an invalid URL: %v", err)
	}
	if !s.found {
		s.found = true
		s.p.o.Log.Infof("proxy: endpoints found %q", urlsOf(s.p.list.all()))
	}
}

func urlsOf(list []*endpoint) []string {
	var urls []string
	for _, e := range list {
		urls = append(urls, e.url)
	}
	return urls
}

// remember writes the note if it has changed. A failure does not end the proxy.
func (s *refresher) remember(note *clusterNote) {
	if note.ClusterID == s.note.ClusterID && slices.Equal(note.PeerURLs, s.note.PeerURLs) && slices.Equal(note.ClientURLs, s.note.ClientURLs) {
		return
	}
	if err := s.p.file.write(note); err != nil {
		s.p.o.Log.Errorf("proxy: cannot write the list of peer urls: %v", err)
	} else if !slices.Equal(note.PeerURLs, s.note.PeerURLs) {
		s.p.o.Log.Infof("proxy: updated peer urls in cluster file from %v to %v", s.note.PeerURLs, note.PeerURLs)
	}
	s.note = note
}

// complain logs failures when they begin, when they change, and each minute; and their end.
func (s *refresher) complain(failures []string, nobody bool) {
	text := strings.Join(failures, "\n")
	if text != "" && text != s.complaint {
		s.failing = lasting.Condition{}
	}
	s.complaint = text
	moment, lasted := s.failing.Observe(text != "", time.Now())
	switch moment {
	case lasting.Quiet:
		return
	case lasting.Ends:
		s.p.o.Log.Infof("proxy: members answer again, after %v", lasted)
		return
	}
	for _, line := range failures {
		s.p.o.Log.Warn("proxy: " + line)
	}
	if nobody {
		s.p.o.Log.Warn("proxy: could not retrieve cluster information from the given urls")
	}
}
