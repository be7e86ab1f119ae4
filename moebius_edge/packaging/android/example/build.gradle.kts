plugins {
    id("com.android.application")
}

android {
    namespace = "io.moebius.edge.example"
    compileSdk = 36

    defaultConfig {
        applicationId = "io.moebius.edge.example"
        minSdk = 29
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64") // phones, and emulators on a PC
        }
    }

    buildTypes {
        release {
            // So that `installRelease` works at once, and profiles what a release runs; sign what you ship with your own key.
            signingConfig = signingConfigs.getByName("debug")
        }
    }

    androidResources {
        // Weights hardly get smaller, and what is stored as it is can be copied without unpacking.
        noCompress += listOf("ort", "onnx", "data", "safetensors")
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

dependencies {
    implementation(project(":moebius"))
    implementation("androidx.activity:activity:1.10.1")
}
