package cluster

import (
	"net/http"
	"strconv"
	"time"

	"canopy/etcdserver"
)

// selfJSON is /v2/stats/self (S3).
type selfJSON struct {
	Name       string     `json:"name"`
	ID         string     `json:"id"`
	State      string     `json:"state"`
	StartTime  time.Time  `json:"startTime"`
	LeaderInfo leaderJSON `json:"leaderInfo"`

	RecvCount     uint64  `json:"recvAppendRequestCnt"`
	RecvRate      float64 `json:"recvPkgRate,omitempty"`
	RecvBandwidth float64 `json:"recvBandwidthRate,omitempty"`
	SendCount     uint64  `json:"sendAppendRequestCnt"`
	SendRate      float64 `json:"sendPkgRate,omitempty"`
	SendBandwidth float64 `json:"sendBandwidthRate,omitempty"`
}

type leaderJSON struct {
	Leader    string    `json:"leader"` // "" when unknown (S5)
	Uptime    string    `json:"uptime"`
	StartTime time.Time `json:"startTime"`
}

// StatsSelf answers /v2/stats/self (S3).
func (h *Handler) StatsSelf(w http.ResponseWriter, r *http.Request) {
	self, _ := h.find(h.Member.ID())
	traffic := h.Member.Traffic()
	s := selfJSON{
		Name:      self.Name,
		ID:        h.Member.ID().String(),
		State:     stateName(h.Member.Consensus().Role),
		StartTime: h.Member.StartTime(),

		RecvCount: traffic.Received.Messages, RecvRate: traffic.Received.PerSecond, RecvBandwidth: traffic.Received.Bandwidth,
		SendCount: traffic.Sent.Messages, SendRate: traffic.Sent.PerSecond, SendBandwidth: traffic.Sent.Bandwidth,
	}
	if leader := h.Member.Leader(); leader != 0 {
		s.LeaderInfo.Leader = leader.String()
	}
	s.LeaderInfo.StartTime = h.Member.LeaderSince()
	if s.LeaderInfo.StartTime.IsZero() {
		s.LeaderInfo.StartTime = s.StartTime
	}
	s.LeaderInfo.Uptime = time.Since(s.LeaderInfo.StartTime).String()
	h.Answers.JSON(w, r, http.StatusOK, s, "")
}

// stateName is the name of a role in S5.
func stateName(role etcdserver.Role) string {
	switch role {
	case etcdserver.RoleLeader:
		return "StateLeader"
	case etcdserver.RoleCandidate:
		return "StateCandidate"
	default:
		return "StateFollower"
	}
}

// followerJSON is a follower in /v2/stats/leader; times are milliseconds (S9).
type followerJSON struct {
	Latency struct {
		Current   float64 `json:"current"`
		Average   float64 `json:"average"`
		Deviation float64 `json:"standardDeviation"`
		Minimum   float64 `json:"minimum"`
		Maximum   float64 `json:"maximum"`
	} `json:"latency"`
	Counts struct {
		Fail    uint64 `json:"fail"`
		Success uint64 `json:"success"`
	} `json:"counts"`
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// StatsLeader answers /v2/stats/leader, on a leader only (S8).
func (h *Handler) StatsLeader(w http.ResponseWriter, r *http.Request) {
	id := h.Member.ID()
	if h.Member.Leader() != id {
		h.Answers.Message(w, r, http.StatusForbidden, "not current leader")
		return
	}
	followers := map[string]followerJSON{} // JSON sorts the keys
	for _, f := range h.Member.Followers() {
		var j followerJSON
		j.Latency.Current, j.Latency.Average, j.Latency.Deviation = milliseconds(f.Current), milliseconds(f.Average), milliseconds(f.Deviation)
		j.Latency.Minimum, j.Latency.Maximum = milliseconds(f.Minimum), milliseconds(f.Maximum)
		j.Counts.Fail, j.Counts.Success = f.Fail, f.Success
		followers[f.ID.String()] = j
	}
	h.Answers.JSON(w, r, http.StatusOK, struct {
		Leader    string                  `json:"leader"`
		Followers map[string]followerJSON `json:"followers"`
	}{id.String(), followers}, "")
}

// StatsStore answers with the counters of S12, in its fixed order and irregular spelling.
func (h *Handler) StatsStore(w http.ResponseWriter, r *http.Request) {
	s := h.Member.StoreStats()
	b := []byte{'{'}
	for i, c := range [...]struct {
		name  string
		count uint64
	}{
		{"getsSuccess", s.GetsSuccess}, {"getsFail", s.GetsFail},
		{"setsSuccess", s.SetsSuccess}, {"setsFail", s.SetsFail},
		{"deleteSuccess", s.DeleteSuccess}, {"deleteFail", s.DeleteFail},
		{"updateSuccess", s.UpdateSuccess}, {"updateFail", s.UpdateFail},
		{"createSuccess", s.CreateSuccess}, {"createFail", s.CreateFail},
		{"compareAndSwapSuccess", s.CompareAndSwapSuccess}, {"compareAndSwapFail", s.CompareAndSwapFail},
		{"compareAndDeleteSuccess", s.CompareAndDeleteSuccess}, {"compareAndDeleteFail", s.CompareAndDeleteFail},
		{"expireCount", s.ExpireCount},
		{"watchers", uint64(s.Watchers)},
	} {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), c.name...), `":`...)
		b = strconv.AppendUint(b, c.count, 10)
	}
	h.Answers.PutJSON(w.Header())
	h.Answers.Body(w, r, http.StatusOK, append(b, '}'))
}
