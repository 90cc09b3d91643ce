package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Health is what a member says of itself.
type Health struct {
	Healthy bool   // it has made progress with a majority just now
	Reason  string // why it is not healthy; "" if it does not say
	Alarm   string // members whose state differs; "" if there are none
}

const healthBytesMax = 64 << 10

// HealthOf asks one endpoint, which need not be one of the client. A member may need some 250 ms for an answer; the context
// bounds it.
func (c *Client) HealthOf(ctx context.Context, endpoint string) (Health, error) {
	request, err := c.request(ctx, endpoint, &call{method: http.MethodGet, path: "/health"})
	if err != nil {
		return Health{}, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return Health{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, healthBytesMax))
	if err != nil {
		return Health{}, err
	}
	var said struct {
		Health any // "true", or true: servers differ (C45)
		Reason string
		Alarm  string
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return Health{}, &AnswerError{Status: answer.StatusCode, Type: answer.Header.Get("Content-Type"), Text: string(body[:min(len(body), 200)]), Bytes: len(body), Err: err}
	}
	return Health{Healthy: fmt.Sprint(said.Health) == "true", Reason: said.Reason, Alarm: said.Alarm}, nil
}

// SelfStats is what a member says of its part in the cluster.
type SelfStats struct {
	ID          MemberID  `json:"id"`
	Name        string    `json:"name"`
	State       string    `json:"state"` // StateLeader, StateFollower or StateCandidate
	StartTime   time.Time `json:"startTime"`
	LeaderSince time.Time `json:"-"`
	Leader      MemberID  `json:"-"` // 0: unknown
}

// SelfStatsOf asks one endpoint, which need not be one of the client.
func (c *Client) SelfStatsOf(ctx context.Context, endpoint string) (SelfStats, error) {
	var said struct {
		SelfStats
		LeaderInfo struct {
			Leader    string
			StartTime time.Time
		}
	}
	what := call{method: http.MethodGet, path: "/v2/stats/self", into: &said}
	if _, err := c.try(ctx, endpoint, &what); err != nil {
		return SelfStats{}, err
	}
	s := said.SelfStats
	s.LeaderSince = said.LeaderInfo.StartTime
	if said.LeaderInfo.Leader != "" {
		if err := s.Leader.UnmarshalText([]byte(said.LeaderInfo.Leader)); err != nil {
			return SelfStats{}, err
		}
	}
	return s, nil
}

// WatchesOf is how many watches the member of one endpoint has.
func (c *Client) WatchesOf(ctx context.Context, endpoint string) (uint64, error) {
	var said struct{ Watchers uint64 }
	_, err := c.try(ctx, endpoint, &call{method: http.MethodGet, path: "/v2/stats/store", into: &said})
	return said.Watchers, err
}

// Version is what a server says of itself, and what its cluster has agreed on.
type Version struct {
	Server  string `json:"etcdserver"`
	Cluster string `json:"etcdcluster"`
}

// VersionOf asks one endpoint, which need not be one of the client.
func (c *Client) VersionOf(ctx context.Context, endpoint string) (Version, error) {
	var said Version
	_, err := c.try(ctx, endpoint, &call{method: http.MethodGet, path: "/version", into: &said})
	return said, err
}

// IndexOf is the number of changes that the member of one endpoint knows.
func (c *Client) IndexOf(ctx context.Context, endpoint string) (uint64, error) {
	header, err := c.try(ctx, endpoint, &call{method: http.MethodHead, path: c.keyPath("/")})
	var said *Error
	if errors.As(err, &said) && said.Index != 0 {
		return said.Index, nil
	}
	if err != nil {
		return 0, err
	}
	return indexOf(header), nil
}

const metricsBytesMax = 16 << 20

// MetricOf reads a metric without labels from /metrics of one endpoint; false: it has none of that name.
func (c *Client) MetricOf(ctx context.Context, endpoint, name string) (value float64, found bool, err error) {
	request, err := c.request(ctx, endpoint, &call{method: http.MethodGet, path: "/metrics"})
	if err != nil {
		return 0, false, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, false, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, metricsBytesMax))
	if err != nil {
		return 0, false, err
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			value, err = strconv.ParseFloat(strings.TrimSpace(rest), 64)
			return value, err == nil, err
		}
	}
	return 0, false, nil
}
