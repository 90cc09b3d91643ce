package upstream

import (
	"context"
	"errors"
	"fmt"
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
	// doubtAfter is how long all known peers may give no answer before those of the flags are asked too (P5).
	doubtAfter = time.Minute
)

// A refresher finds the members of the cluster. One goroutine uses it.
type refresher struct {
	u         *Cluster
	client    *http.Client // for peer URLs
	known     *record
	fromFlags bool      // known came from the flags in this run, so they have nothing new
	answered  time.Time // when a member last answered; at first the start
	found     bool      // endpoints were found in this run
	starting  time.Time // since when a member has not published its client URLs; zero: all have
	logged    string    // the failures that were logged last
	failing   lasting.Condition
}

// firstRecord gives the first list of peers (P3).
func (u *Cluster) firstRecord(ctx context.Context) (*record, error) {
	if u.known != nil {
		u.o.Log.Infof("proxy: using peer urls %v from cluster file %q", u.known.PeerURLs, u.file.name)
		return u.known, nil
	}
	urls, err := u.o.Peers(ctx)
	if err != nil {
		return nil, err
	}
	if len(urls) == 0 {
		return nil, errors.New("proxy: no peer URL is known to find the cluster")
	}
	u.o.Log.Infof("proxy: using peer urls %v", urls)
	return &record{PeerURLs: sorted(urls)}, nil
}

func sorted(urls []string) []string { return slices.Compact(slices.Sorted(slices.Values(urls))) }

// keepRefreshing refreshes until ctx ends: at each interval, when woken, and each second while no endpoint is known or a
// member is starting.
func (u *Cluster) keepRefreshing(ctx context.Context, first *record) {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s := &refresher{u: u, client: &http.Client{Transport: u.o.transport(), CheckRedirect: stay}, known: first, fromFlags: u.known == nil, answered: time.Now()}
	for {
		s.refresh(ctx)
		wait := u.o.RefreshInterval
		starting := !s.starting.IsZero() && time.Since(s.starting) < doubtAfter // a member that is never started counts for a minute only
		if len(u.list.all()) == 0 || starting {
			wait = min(wait, refreshSpacing)
		}
		if !sleep(ctx, min(wait, refreshSpacing), nil) || !sleep(ctx, wait-refreshSpacing, u.refreshNow) {
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
	starting       bool     // a member has not published its client URLs yet
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
		good, more = s.askAll(ctx, s.known.ClientURLs, s.askMember)
		failures = append(failures, more...)
	}
	if ctx.Err() != nil {
		return
	}
	s.log(failures, len(good) == 0)
	if len(good) > 0 {
		s.answered = time.Now()
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
			failures = append(failures, fmt.Sprintf("could not get cluster response from %s: %s", urls[n], s.u.o.inWords(err)))
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
	c, err := client.New(client.Config{Endpoints: []string{url}, Transport: s.client.Transport, AnswerBytes: listBytesMax})
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
	if s.known.ClusterID != 0 && all.ClusterID != s.known.ClusterID {
		return report{}, fmt.Errorf("it belongs to the cluster %x, and this proxy to %x: delete %s to move it", all.ClusterID, s.known.ClusterID, s.u.file.name)
	}
	r := report{cluster: all.ClusterID}
	for _, m := range all.Members {
		r.peers = append(r.peers, m.PeerURLs...)
		r.clients = append(r.clients, m.ClientURLs...)
		r.starting = r.starting || len(m.ClientURLs) == 0
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

// peers are the URLs to ask: the known ones and, once none of those has answered for long, those of the flags, which may have
// changed since (P5).
func (s *refresher) peers(ctx context.Context) []string {
	if s.fromFlags || time.Since(s.answered) < doubtAfter {
		return s.known.PeerURLs
	}
	flags, err := s.u.o.Peers(ctx)
	if err != nil {
		return s.known.PeerURLs
	}
	return sorted(slices.Concat(s.known.PeerURLs, flags))
}

// accept applies a report.
func (s *refresher) accept(r report) {
	next := &record{PeerURLs: r.peers, ClientURLs: r.clients, ClusterID: r.cluster}
	if len(r.clients) == 0 {
		next.ClientURLs = s.known.ClientURLs // the cluster is about to start
	}
	s.remember(next)
	switch {
	case !r.starting:
		s.starting = time.Time{}
	case s.starting.IsZero():
		s.starting = time.Now()
	}
	if len(r.clients) == 0 {
		return
	}
	if err := s.u.list.replace(r.clients, &s.u.o); err != nil {
		s.u.o.Log.Warnf("proxy: a member advertises an invalid URL: %v", err)
	}
	if !s.found {
		s.found = true
		s.u.o.Log.Infof("proxy: endpoints found %q", urlsOf(s.u.list.all()))
	}
}

func urlsOf(list []*Endpoint) []string {
	var urls []string
	for _, e := range list {
		urls = append(urls, e.URL)
	}
	return urls
}

// remember writes the record if it has changed. A failure does not end the proxy.
func (s *refresher) remember(next *record) {
	if next.ClusterID == s.known.ClusterID && slices.Equal(next.PeerURLs, s.known.PeerURLs) && slices.Equal(next.ClientURLs, s.known.ClientURLs) {
		return
	}
	if err := s.u.file.write(next); err != nil {
		s.u.o.Log.Errorf("proxy: cannot write the list of peer urls: %v", err)
	} else if !slices.Equal(next.PeerURLs, s.known.PeerURLs) {
		s.u.o.Log.Infof("proxy: updated peer urls in cluster file from %v to %v", s.known.PeerURLs, next.PeerURLs)
	}
	s.known = next
}

// log logs failures when they begin, when they change, and each minute; and their end.
func (s *refresher) log(failures []string, nobody bool) {
	text := strings.Join(failures, "\n")
	if text != "" && text != s.logged {
		s.failing = lasting.Condition{}
	}
	s.logged = text
	moment, lasted := s.failing.Observe(text != "", time.Now())
	switch moment {
	case lasting.Quiet:
		return
	case lasting.Ends:
		s.u.o.Log.Infof("proxy: members answer again, after %v", lasted)
		return
	}
	for _, line := range failures {
		s.u.o.Log.Warn("proxy: " + line)
	}
	if nobody {
		s.u.o.Log.Warn("proxy: could not retrieve cluster information from the given urls")
	}
}
