package etcd04

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"canopy/migration/etcdtree"
)

// command is all that the commands of 0.4 hold (G45).
type command struct {
	Key        string          `json:"key"`
	Value      string          `json:"value"`
	ExpireTime string          `json:"expireTime"`
	Dir        bool            `json:"dir"`
	Unique     bool            `json:"unique"`
	Recursive  bool            `json:"recursive"`
	PrevValue  string          `json:"prevValue"`
	PrevIndex  uint64          `json:"prevIndex"`
	Time       string          `json:"time"`
	Name       string          `json:"name"`
	RaftURL    string          `json:"raftURL"`
	EtcdURL    string          `json:"etcdURL"`
	Config     json.RawMessage `json:"config"`
}

// apply applies an entry. It tells whether it succeeded; an error is an entry that cannot be understood.
func apply(s *etcdtree.State, e entry) (bool, error) {
	if e.name == "raft:nop" || e.name == "etcd:get" {
		return true, nil
	}
	var c command
	d := json.NewDecoder(bytes.NewReader(e.command))
	if err := d.Decode(&c); err != nil {
		return false, err
	}
	r := etcdtree.Request{Path: c.Key, Value: c.Value, Dir: c.Dir, Recursive: c.Recursive, PrevValue: c.PrevValue, PrevIndex: c.PrevIndex}
	var err error
	if c.ExpireTime != "" {
		if r.Expires, err = etcdtree.ParseTime(c.ExpireTime); err != nil {
			return false, err
		}
		if r.Expires < 946_684_800e9 { // before 2000 is permanent
			r.Expires = 0
		}
	}
	switch e.name {
	case "etcd:set":
		return s.Set(r), nil
	case "etcd:create":
		if c.Unique {
			return s.CreateInOrder(r), nil
		}
		return s.Create(r), nil
	case "etcd:update":
		return s.Update(r), nil
	case "etcd:compareAndSwap":
		return s.CompareAndSwap(r), nil
	case "etcd:delete":
		return s.Delete(r), nil
	case "etcd:compareAndDelete":
		return s.CompareAndDelete(r), nil
	case "etcd:sync":
		at, err := etcdtree.ParseTime(c.Time)
		return err == nil && s.Sync(at), err
	case "etcd:join":
		return join(s, c), nil
	case "etcd:remove":
		return s.Delete(etcdtree.Request{Path: machinePath(c.Name)}), nil
	case "etcd:setClusterConfig":
		return setConfig(s, c.Config)
	}
	return false, errors.New("this command is unknown")
}

const machines = "/_etcd/machines"

func machinePath(name string) string { return machines + "/" + name }

// machine gives the URLs of a machine in the registry.
func machine(s *etcdtree.State, name string) (raft, client string) {
	text, _ := s.Get(machinePath(name))
	values, err := url.ParseQuery(text)
	if err != nil {
		return "", ""
	}
	return values.Get("raft"), values.Get("etcd")
}

// join adds a machine to the registry (G46).
func join(s *etcdtree.State, c command) bool {
	encoded := func(raft, client string) string {
		return url.Values{"raft": {raft}, "etcd": {client}}.Encode()
	}
	if _, present := s.Get(machinePath(c.Name)); present {
		raft, client := machine(s, c.Name)
		if raft == c.RaftURL {
			return true
		}
		return s.Update(etcdtree.Request{Path: machinePath(c.Name), Value: encoded(c.RaftURL, client)})
	}
	names := s.List(machines)
	for _, name := range names {
		if raft, _ := machine(s, name); raft == c.RaftURL {
			return false
		}
	}
	if len(names) >= activeSize(s) {
		return false
	}
	return s.Create(etcdtree.Request{Path: machinePath(c.Name), Value: encoded(c.RaftURL, c.EtcdURL)})
}

const configPath = "/_etcd/config"

// activeSize is how many machines there may be.
func activeSize(s *etcdtree.State) int {
	const usual = 9
	text, ok := s.Get(configPath)
	if !ok {
		return usual
	}
	var config struct {
		ActiveSize int `json:"activeSize"`
	}
	if json.Unmarshal([]byte(text), &config) != nil {
		return usual
	}
	return config.ActiveSize
}

// setConfig stores the settings of the cluster, after raising them to what 0.4 allows at least.
func setConfig(s *etcdtree.State, text json.RawMessage) (bool, error) {
	var config struct {
		ActiveSize   int     `json:"activeSize"`
		RemoveDelay  float64 `json:"removeDelay"`
		SyncInterval float64 `json:"syncInterval"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return false, err
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	value := fmt.Sprintf(`{"activeSize":%d,"removeDelay":%s,"syncInterval":%s}`,
		max(config.ActiveSize, 3), number(max(config.RemoveDelay, 2)), number(max(config.SyncInterval, 1)))
	return s.Set(etcdtree.Request{Path: configPath, Value: value}), nil
}
