// Package storepb holds the store's wire formats, generated from store.proto. Package store is its only user.
package storepb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-vtproto_out=. --go-vtproto_opt=paths=source_relative,features=marshal+unmarshal+unmarshal_unsafe+size store.proto
