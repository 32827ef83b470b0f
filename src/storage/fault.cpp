#include "storage/fault.hpp"

#include <string>

namespace cluster::storage {

namespace {

class Category final : public std::error_category {
public:
    const char* name() const noexcept override { return "cluster.storage"; }

    std::string message(int value) const override {
        switch (static_cast<Fault>(value)) {
            case Fault::damaged: return "what was read is not what was written";
            case Fault::locked: return "the directory is open already, in this process or another one";
            case Fault::cannot_sync: return "the file system cannot put files on disk when asked";
            case Fault::too_large: return "it is longer than it may be";
            case Fault::not_there: return "it is not there, or not any more";
            case Fault::busy: return "a snapshot is being written already";
            case Fault::contradiction: return "it contradicts what was written before";
            case Fault::promised: return "the disk is promised to another group, or belongs to one";
            case Fault::closed: return "the storage is closed";
        }
        return "unknown fault " + std::to_string(value);
    }
};

}  // namespace

const std::error_category& fault_category() noexcept {
    // Never destroyed: an error may still be read while the process ends.
    static const Category& category = *new Category;
    return category;
}

}  // namespace cluster::storage
