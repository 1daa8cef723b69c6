"""Schemas of one registry, as tables that records are walked by: id -> schema. They never change, so they are kept."""
from libc.stdint cimport int64_t, uint32_t
from libcpp cimport bool
from libcpp.memory cimport shared_ptr
from libcpp.string cimport string
from libcpp.utility cimport pair
from libcpp.vector cimport vector


cdef extern from "value_schema.hpp" namespace "kproxy":
    cdef cppclass SchemaMember:
        string name
        int node
        uint32_t number
        bool repeated
        bool required
        vector[string] tags
    cdef cppclass SchemaNode:
        int kind
        string logical
        vector[SchemaMember] members
        vector[string] symbols
        vector[int64_t] numbers
        vector[int] branches
        int item
        size_t size
    cdef cppclass ValueSchema:
        int format
        vector[SchemaNode] nodes
        vector[int] tops
        vector[pair[vector[string], vector[string]]] tagged
    cdef cppclass SchemaTable:
        void add(uint32_t id, shared_ptr[ValueSchema] schema) except +
        bool knows(uint32_t id)
        size_t size()


cdef class Registered:
    cdef shared_ptr[SchemaTable] table
