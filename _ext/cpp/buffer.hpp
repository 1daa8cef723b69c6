// Bytes that grow without being zeroed first, and that are kept from one record set to the next.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

namespace kproxy {

class Buffer {
  public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    char* data() { return data_; }
    const char* data() const { return data_; }
    size_t size() const { return size_; }
    size_t capacity() const { return capacity_; }
    bool empty() const { return size_ == 0; }
    std::string_view view() const { return std::string_view(data_, size_); }

    void clear() { size_ = 0; }
    void cut(size_t size) { size_ = size; }
    void added(size_t more) { size_ += more; }

    // Room for `more` bytes behind the last one; where they go.
    char* room(size_t more) {
        if (more > capacity_ - size_) grow(size_ + more);
        return data_ + size_;
    }
    void append(const char* from, size_t length) {
        if (!length) return;
        std::memcpy(room(length), from, length);
        size_ += length;
    }
    void append(std::string_view text) { append(text.data(), text.size()); }
    void push(char c) {
        *room(1) = c;
        size_++;
    }

    // One large record set must not stay in memory for the rest of the process's life.
    void give_back(size_t keep) {
        size_ = 0;
        if (capacity_ <= keep) return;
        std::free(data_);
        data_ = nullptr;
        capacity_ = 0;
    }

  private:
    void grow(size_t least) {
        size_t wanted = capacity_ + capacity_ / 2;
        if (wanted < least) wanted = least;
        if (wanted < 512) wanted = 512;
        void* moved = std::realloc(data_, wanted);
        if (!moved) throw std::bad_alloc();
        data_ = static_cast<char*>(moved);
        capacity_ = wanted;
    }

    char* data_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
};

}  // namespace kproxy
