// Android Gradle plugin 9.2.0 needs Gradle 9.4.1 or newer and JDK 17; Kotlin comes with it.
plugins {
    id("com.android.application") version "9.2.0" apply false
    id("com.android.library") version "9.2.0" apply false
}
